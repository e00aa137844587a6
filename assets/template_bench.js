// Templates on the bench. gr.HTML runs this with `element`, `props` and `watch` given; texts are set as text.
// Setting `props.value` fires `change`.

const bench = element.querySelector('.template-bench');
const list = document.createElement('ol');
const editor = document.createElement('div');
const NEW = {name: 'my own wording', prompt: '', completion: '', turned_around: false, used: true};
let drawn = ''; // the value as the page shows it: what we set ourselves is not drawn again, which would move the caret

function part(tag, className, text = '') {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function button(className, text, onClick) {
  const node = part('button', className, text);
  node.type = 'button';
  node.addEventListener('click', onClick);
  return node;
}

function put(value, {redraw}) {
  drawn = JSON.stringify(value);
  props.value = value;
  drawList(value);
  if (redraw) drawEditor(value);
}

function alter(index, change) {
  const templates = props.value.templates.map((each, at) => (at === index ? {...each, ...change} : {...each}));
  put({...props.value, templates}, {redraw: false});
}

// ---- the list

function tickBox(template, index) {
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = template.used;
  box.setAttribute('aria-label', `use ${template.name}`);
  box.addEventListener('change', () => alter(index, {used: box.checked}));
  return box;
}

function opener(template, index, open) {
  const node = button('template-open', '', () => put({...props.value, open: index}, {redraw: true}));
  node.setAttribute('aria-pressed', String(index === open));
  const title = part('span', 'template-name', template.name || 'without a name');
  if (template.turned_around) title.append(part('span', 'template-turned', 'turned around'));
  node.append(title, part('span', 'template-prompt', template.prompt.replace(/\s+/g, ' ').slice(0, 120)));
  return node;
}

function line(template, index, open) {
  const item = part('li', index === open ? 'template-line open' : 'template-line');
  item.append(tickBox(template, index), opener(template, index, open));
  return item;
}

function drawList(value) {
  const focus = [...list.querySelectorAll('button, input')].indexOf(document.activeElement);
  list.replaceChildren(...value.templates.map((template, index) => line(template, index, value.open)));
  if (focus >= 0) list.querySelectorAll('button, input')[focus]?.focus(); // redrawing must not lose the keyboard
}

// ---- the open template

function field(title, help, node, name) {
  const label = part('label', 'template-field');
  node.name = name;
  node.addEventListener('input', () => alter(props.value.open, {[name]: node.type === 'checkbox' ? node.checked : node.value}));
  label.append(part('span', 'template-title', title), part('span', 'quiet', help), node);
  return label;
}

function textBox(value, lines, limit) {
  const node = document.createElement(lines > 1 ? 'textarea' : 'input');
  node.value = value;
  node.maxLength = limit;
  if (lines > 1) node.rows = lines;
  else node.type = 'text';
  return node;
}

function turnedBox(checked) {
  const node = document.createElement('input');
  node.type = 'checkbox';
  node.checked = checked;
  return node;
}

function drawEditor(value) {
  const template = value.templates[value.open];
  const fields = [
    field('Name', 'What to call this wording; rows made by it carry the name.', textBox(template.name, 1, 80), 'name'),
    field('Prompt', 'What the model is asked. {column} stands for what is in that column.', textBox(template.prompt, 6, 20000), 'prompt'),
  ];
  if (!value.keeps_answers) {
    const turned = field('Turned around', 'Gives the label and asks for the text.', turnedBox(template.turned_around), 'turned_around');
    turned.classList.add('template-tick');
    fields.push(field('Completion', 'The answer the model learns.', textBox(template.completion, 2, 20000), 'completion'), turned);
  }
  const remove = button('template-button', 'Remove this template', onRemove);
  remove.disabled = value.templates.length < 2; // a set has at least one
  editor.replaceChildren(...fields, remove);
}

function onAdd() {
  const {templates, open} = props.value;
  const taken = new Set(templates.map(each => each.name));
  let name = NEW.name;
  for (let number = 2; taken.has(name); number += 1) name = `${NEW.name} ${number}`;
  put({...props.value, templates: [...templates, {...NEW, ...templates[open], name, used: true}], open: templates.length}, {redraw: true});
  editor.querySelector('[name=name]').select();
}

function onRemove() {
  const {templates, open} = props.value;
  put({...props.value, templates: templates.filter((_, at) => at !== open), open: Math.max(0, Math.min(open, templates.length - 2))}, {redraw: true});
}

// ---- the whole

function render() {
  const value = props.value;
  if (!value || JSON.stringify(value) === drawn) return;
  drawn = JSON.stringify(value);
  bench.hidden = value.templates.length === 0;
  if (bench.hidden) return;
  drawList(value);
  drawEditor(value);
}

const listed = part('fieldset', 'template-list');
listed.append(part('legend', '', 'Templates that are used'), list, button('template-button', 'Add a template', onAdd));
editor.className = 'template-editor';
bench.append(listed, editor);
watch('value', render);
render();
