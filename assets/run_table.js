// The table of runs. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const head = element.querySelector('thead');
const body = element.querySelector('tbody');
const nothing = element.querySelector('.empty');
nothing.textContent = 'No runs yet. Train one: the starter data takes a few minutes.';

function cell(tag, content) {
  const node = document.createElement(tag);
  node.append(content);
  return node;
}

function tickBox(row) {
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = props.value.ticked.includes(row.id);
  box.setAttribute('aria-label', `compare ${row.cells[1]}`);
  box.addEventListener('change', () => {
    const others = props.value.ticked.filter(id => id !== row.id);
    props.value = {...props.value, ticked: box.checked ? [...others, row.id] : others};
    trigger('change');
  });
  return box;
}

function opener(row) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = row.cells[1];
  button.addEventListener('click', () => {
    props.value = {...props.value, open: row.id};
    trigger('select');
  });
  return button;
}

function line(row) {
  const tr = document.createElement('tr');
  tr.className = row.id === props.value.open ? 'open' : '';
  tr.append(cell('td', tickBox(row)));
  row.cells.forEach((text, index) => {
    const td = cell('td', index === 1 ? opener(row) : text);
    if (index === 0) td.className = `status status-${row.status}`;
    tr.append(td);
  });
  return tr;
}

function render() {
  const value = props.value;
  if (!value) return;
  const focus = [...body.querySelectorAll('button, input')].indexOf(document.activeElement);
  head.replaceChildren();
  if (value.rows.length) {
    const titles = document.createElement('tr');
    titles.append(cell('th', 'compare'), ...value.columns.map(title => cell('th', title)));
    titles.querySelectorAll('th').forEach(th => { th.scope = 'col'; });
    head.append(titles);
  }
  body.replaceChildren(...value.rows.map(line));
  nothing.hidden = value.rows.length > 0;
  if (focus >= 0) body.querySelectorAll('button, input')[focus]?.focus(); // redrawing must not lose the keyboard
}

watch('value', render);
render();
