// Items that people disagree on. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const list = element.querySelector('.disagreements');
const nothing = element.querySelector('.empty');

function part(parent, tag, name, text) {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text;
  parent.append(node);
  return node;
}

function ask(line, key) {
  props.value = {...props.value, asked: {item: line.item, key}};
  trigger('select');
}

function addButton(parent, line, key, words, pressed) {
  const button = part(parent, 'button', 'disagreement-choice', words);
  button.type = 'button';
  button.dataset.place = `${line.item} ${key}`;
  button.setAttribute('aria-label', `${line.title}: ${words}`);
  if (pressed !== null) button.setAttribute('aria-pressed', String(pressed));
  button.addEventListener('click', () => ask(line, key));
}

function addPrompt(parent, line) {
  line.prompt.forEach(turn => {
    const said = part(parent, 'p', 'disagreement-prompt plain-text', '');
    said.dir = 'auto';
    part(said, 'span', 'data-role', `${turn.who} `);
    said.append(turn.text);
  });
}

function addAnswers(parent, line) {
  const row = part(parent, 'div', 'disagreement-answers', '');
  line.answers.forEach(answer => {
    const box = part(row, 'section', 'disagreement-answer', '');
    const head = part(box, 'p', 'disagreement-letter', answer.letter);
    if (answer.made) part(head, 'span', 'quiet', ` ${answer.made}`);
    const text = part(box, 'div', 'plain-text', answer.text);
    text.dir = 'auto';
    text.tabIndex = 0; // long ones scroll, also by key
    text.setAttribute('aria-label', `${line.title}, answer ${answer.letter}`);
    text.setAttribute('role', 'group');
  });
}

function addOpinions(parent, line) {
  const said = part(parent, 'ul', 'disagreement-opinions', '');
  line.opinions.forEach(opinion => {
    const entry = part(said, 'li', '', '');
    part(entry, 'strong', '', opinion.people);
    entry.append(`: ${opinion.words}`);
  });
}

function addLine(line) {
  const item = part(list, 'li', line.settled ? 'disagreement disagreement-settled' : 'disagreement', '');
  const head = part(item, 'div', 'disagreement-head', '');
  part(head, 'h4', '', line.title);
  part(head, 'span', line.settled ? 'good' : 'quiet', line.settled || 'open');
  addPrompt(item, line);
  addAnswers(item, line);
  addOpinions(item, line);
  const buttons = part(item, 'div', 'disagreement-buttons', '');
  part(buttons, 'span', 'quiet', line.settled ? 'Settle it otherwise:' : 'Settle it:');
  line.choices.forEach(choice => addButton(buttons, line, choice.key, choice.words, choice.chosen));
  if (line.settled) addButton(buttons, line, 'reopened', 'open it again', null);
}

// Redrawing must not lose the keyboard: back to the button that was pressed, or where it is gone, to its item's first.
function refocus(place) {
  const buttons = [...list.querySelectorAll('button')];
  const item = `${place.split(' ')[0]} `;
  const same = buttons.find(button => button.dataset.place === place) ?? buttons.find(button => button.dataset.place.startsWith(item));
  same?.focus({preventScroll: true});
}

function render() {
  const value = props.value;
  if (!value) return;
  const place = list.contains(document.activeElement) ? document.activeElement.dataset.place : null;
  list.replaceChildren();
  value.lines.forEach(addLine);
  list.hidden = value.lines.length === 0;
  nothing.textContent = value.empty;
  nothing.hidden = value.lines.length > 0 || !value.empty;
  if (place) refocus(place);
}

watch('value', render);
render();
