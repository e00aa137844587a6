// The table of runs. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const head = element.querySelector('thead');
const body = element.querySelector('tbody');
const nothing = element.querySelector('.empty');
let picks = 0; // by this page's user
let mine = {open: null, ticked: []};
nothing.textContent = 'No runs yet. Train one: the starter data takes a few minutes.';

function cell(tag, content) {
  const node = document.createElement(tag);
  node.append(content);
  return node;
}

function pick(picked) {
  picks += 1;
  mine = {...mine, ...picked};
  props.value = {...props.value, ...mine, picks};
  trigger('select');
}

function tickBox(row) {
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.addEventListener('change', () => {
    const others = mine.ticked.filter(id => id !== row.id);
    pick({ticked: box.checked ? [...others, row.id] : others});
  });
  return box;
}

function opener(row) {
  const button = document.createElement('button');
  button.type = 'button';
  button.addEventListener('click', () => pick({open: row.id}));
  return button;
}

function line(row) {
  const tr = document.createElement('tr');
  tr.dataset.id = row.id;
  tr.append(cell('td', tickBox(row)), ...row.cells.map((text, index) => cell('td', index === 1 ? opener(row) : '')));
  return tr;
}

function fill(tr, row) {
  const [compared, status, ...others] = tr.children;
  tr.className = row.id === mine.open ? 'open' : '';
  compared.firstChild.checked = mine.ticked.includes(row.id);
  compared.firstChild.setAttribute('aria-label', `compare ${row.cells[1]}`);
  status.className = `status status-${row.status}`;
  [status, others[0].firstChild, ...others.slice(1)].forEach((node, index) => { node.textContent = row.cells[index]; });
}

function title(columns) {
  const titles = document.createElement('tr');
  titles.append(cell('th', 'compare'), ...columns.map(name => cell('th', name)));
  titles.querySelectorAll('th').forEach(th => { th.scope = 'col'; });
  return titles;
}

function take() {
  const value = props.value;
  if (!value) return;
  const isOld = value.picks != null && value.picks < picks; // asked for before the last pick, which it must not undo
  if (!isOld) mine = {open: value.open, ticked: value.ticked};
  if (value.picks !== picks) props.value = {...value, ...mine, picks};
  render(value);
}

function render(value) {
  const shown = [...body.children].map(tr => tr.dataset.id);
  if (shown.join() !== value.rows.map(row => row.id).join()) { // else the same lines stay: a click or the keyboard may be on one
    const focus = [...body.querySelectorAll('button, input')].indexOf(document.activeElement);
    body.replaceChildren(...value.rows.map(line));
    if (focus >= 0) body.querySelectorAll('button, input')[focus]?.focus();
  }
  value.rows.forEach((row, index) => fill(body.children[index], row));
  head.replaceChildren(...(value.rows.length ? [title(value.columns)] : []));
  nothing.hidden = value.rows.length > 0;
}

watch('value', take);
take();
