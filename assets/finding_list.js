// What a check found. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const list = element.querySelector('.findings');
const GRAVITIES = {wrong: 'to mend', doubtful: 'worth a look', notable: 'good to know'};

function part(parent, tag, name, text) {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text;
  parent.append(node);
  return node;
}

function isAsked(line, what) {
  const asked = props.value.asked;
  return Boolean(asked) && asked.what === what && asked.check === line.check && asked.title === line.title;
}

function button(parent, line, what, text) {
  const node = part(parent, 'button', 'finding-button', text);
  node.type = 'button';
  node.setAttribute('aria-label', `${line.title}: ${text}`);
  node.setAttribute('aria-expanded', String(isAsked(line, what)));
  node.addEventListener('click', () => {
    props.value = {...props.value, asked: {what, check: line.check, title: line.title}};
    trigger('select');
    render(); // `watch` tells of what comes from the server alone
  });
}

function addLine(line) {
  const item = part(list, 'li', `finding finding-${line.gravity}`, '');
  const head = part(item, 'div', 'finding-head', '');
  part(head, 'span', 'finding-gravity', GRAVITIES[line.gravity]);
  part(head, 'h3', 'finding-title', line.title);
  part(head, 'span', 'finding-number', line.number);
  part(item, 'p', 'finding-sentence', line.sentence);
  const buttons = part(item, 'div', 'finding-buttons', '');
  if (line.rows) button(buttons, line, 'rows', 'Show rows');
  if (line.mend) button(buttons, line, 'mend', `${line.mend} …`);
}

let before = null; // what was asked for before: where to go back to

function isSame(line, asked) {
  return Boolean(asked) && asked.check === line.check && asked.title === line.title;
}

// While a finding's rows or its mend are looked at below, its line stands alone, so that both are in view.
function render() {
  if (!props.value) return;
  const {lines, asked} = props.value;
  const focus = list.contains(document.activeElement);
  const shown = asked ? lines.filter(line => isSame(line, asked)) : lines;
  list.replaceChildren();
  shown.forEach(addLine);
  list.hidden = shown.length === 0;
  if (asked) list.scrollIntoView({block: 'nearest'});
  if (asked && focus) list.querySelector('button[aria-expanded="true"]')?.focus(); // redrawing must not lose the keyboard
  if (!asked && before) goBack(lines, before);
  before = asked;
}

function goBack(lines, asked) {
  const item = list.children[lines.findIndex(line => isSame(line, asked))];
  item?.scrollIntoView({block: 'nearest'});
  item?.querySelector('button')?.focus({preventScroll: true});
}

watch('value', render);
render();
