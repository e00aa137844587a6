// Who answers, one line each. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given, behind FIELDS (name,
// title and help of each setting) and MOST (lines there may be). Texts are set as text.

const list = element.querySelector('[data-part="lines"]');
const add = element.querySelector('[data-part="add"]');
const TYPING = 300; // milliseconds without a key until what was typed counts
let waiting;
let drawn = '';

function lines() {
  return props.value?.lines ?? [];
}

function tell(changed) {
  clearTimeout(waiting);
  props.value = {...props.value, lines: changed};
  trigger('input');
}

function changed(index, name, text) {
  tell(lines().map((line, at) => (at === index ? {...line, [name]: text} : line)));
}

function picker(index, line) {
  const select = document.createElement('select');
  for (const [words, value] of props.value.speakers) select.add(new Option(words, value));
  select.value = line.speaker;
  select.addEventListener('change', () => {
    changed(index, 'speaker', select.value);
    render(); // an answer that stands in the data is not written: it needs no settings
    list.children[index]?.querySelector('select')?.focus();
  });
  return select;
}

function typedIn(index, name, line) {
  const input = document.createElement('input');
  input.type = 'text';
  input.inputMode = 'decimal';
  input.value = line[name];
  input.disabled = line.speaker === 'reference';
  input.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => changed(index, name, input.value), TYPING);
  });
  input.addEventListener('change', () => changed(index, name, input.value));
  return input;
}

function field({name, title, help}, index, line) {
  const label = document.createElement('label');
  const words = document.createElement('span');
  words.textContent = title;
  const input = name === 'speaker' ? picker(index, line) : typedIn(index, name, line);
  input.dataset.field = name;
  input.title = help;
  input.setAttribute('aria-label', title); // without the help, which would be read out as its name
  label.append(words);
  if (index === 0) {
    const said = document.createElement('small');
    said.textContent = help;
    label.append(said);
  }
  label.append(input);
  return label;
}

function taker(index) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'answerer-take';
  button.textContent = 'Take out';
  button.setAttribute('aria-label', `take answerer ${index + 1} out`);
  button.addEventListener('click', () => {
    tell(lines().filter((_, at) => at !== index));
    render();
    const left = [...list.querySelectorAll('.answerer-take')];
    (left[index] ?? left.at(-1) ?? add).focus(); // the keyboard stays where it was
  });
  return button;
}

function row(line, index) {
  const group = document.createElement('div');
  group.className = index === 0 ? 'answerer answerer-first' : 'answerer';
  group.setAttribute('role', 'group');
  group.setAttribute('aria-label', `answerer ${index + 1}`);
  const number = document.createElement('strong');
  number.textContent = index + 1;
  group.append(number, ...FIELDS.map(each => field(each, index, line)), taker(index));
  return group;
}

// Lines are drawn anew only where one came, went or has another speaker, so that nobody loses the place they type in.
function outline() {
  return JSON.stringify([lines().map(line => line.speaker), props.value?.speakers]);
}

function render() {
  add.disabled = lines().length >= MOST;
  if (outline() === drawn) return;
  drawn = outline();
  list.replaceChildren(...lines().map(row));
}

function another() {
  const last = lines().at(-1);
  const seeds = lines().map(line => Number(line.seed) || 0);
  if (last && last.speaker !== 'reference') return {...last, draws: '1', seed: String(Math.max(...seeds) + 1)};
  return {speaker: props.value.speakers[0]?.[1] ?? '', draws: '1', temperature: '0.7', top_p: '0.95', max_tokens: '256', seed: String(Math.max(-1, ...seeds) + 1)};
}

add.addEventListener('click', () => {
  tell([...lines(), another()]);
  render();
  list.lastElementChild?.querySelector('select')?.focus();
});

watch('value', () => {
  if (!list.contains(document.activeElement)) drawn = ''; // what came from elsewhere is shown whole
  render();
});
render();
