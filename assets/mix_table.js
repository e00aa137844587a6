// The parts of a mixture, one line each. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const list = element.querySelector('.mix-parts');
const nothing = element.querySelector('.empty');
const TYPING = 300; // milliseconds without a key until what was typed counts
let waiting;

function labelled(words, input) {
  const label = document.createElement('label');
  const name = document.createElement('span');
  name.textContent = words;
  label.append(name, input);
  return label;
}

function tell(parts) {
  props.value = parts;
  trigger('input');
}

function changed(index, field, text) {
  tell(props.value.map((part, at) => (at === index ? {...part, [field]: text} : part)));
}

function typedIn(index, field, part, help) {
  const input = document.createElement('input');
  input.type = 'text';
  input.inputMode = 'decimal';
  input.value = part[field];
  input.title = help;
  input.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => changed(index, field, input.value), TYPING);
  });
  input.addEventListener('change', () => {
    clearTimeout(waiting);
    changed(index, field, input.value);
  });
  return input;
}

function versionPicker(index, part) {
  const select = document.createElement('select');
  for (const version of Object.keys(part.versions).sort((one, other) => other - one)) {
    const rows = part.versions[version];
    select.add(new Option(`v${version}, ${rows === 1 ? '1 row' : `${rows.toLocaleString('en')} rows`}`, version));
  }
  select.value = part.version;
  select.addEventListener('change', () => changed(index, 'version', select.value));
  return select;
}

function taker(index, part) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'mix-remove';
  button.textContent = 'Take out';
  button.setAttribute('aria-label', `take ${part.name} out`);
  button.addEventListener('click', () => {
    clearTimeout(waiting);
    tell(props.value.filter((_, at) => at !== index));
    render();
    const left = [...list.querySelectorAll('.mix-remove')];
    (left[index] ?? left.at(-1))?.focus(); // the keyboard stays where it was
  });
  return button;
}

function line(part, index) {
  const row = document.createElement('div');
  row.className = 'mix-part';
  row.setAttribute('role', 'group');
  row.setAttribute('aria-label', part.name);
  const name = document.createElement('strong');
  name.textContent = part.name;
  const amount = part.fixed
    ? labelled('Fixed share, %', typedIn(index, 'share', part, 'Its part of all rows, whatever the others do.'))
    : labelled('Weight', typedIn(index, 'weight', part, '2 takes it twice as often as its size would give, 0.5 half as often.'));
  const cap = typedIn(index, 'cap', part, 'At most so many rows are taken from it, and it counts as no larger.');
  cap.placeholder = 'all';
  row.append(name, labelled('Version', versionPicker(index, part)), amount, labelled('Cap, rows', cap), taker(index, part));
  return row;
}

// What is shown is drawn anew only where lines came or went, so that nobody loses the place they type in.
function outline(parts) {
  return JSON.stringify(parts.map(part => [part.id, part.versions, part.fixed]));
}

let drawn = '';

function render() {
  const parts = props.value ?? [];
  nothing.hidden = parts.length > 0;
  if (outline(parts) === drawn && list.contains(document.activeElement)) return;
  drawn = outline(parts);
  list.replaceChildren(...parts.map(line));
}

watch('value', render);
render();
