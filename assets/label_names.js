// The labels of a table and their names. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given.

const fieldset = element.querySelector('fieldset');
let drawn = '';

function part(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function line(label, index) {
  const row = part('label', 'label-name', '');
  const field = document.createElement('input');
  field.type = 'text';
  field.maxLength = 200;
  field.value = label.name;
  field.setAttribute('aria-label', `name of the label ${label.value}`);
  field.addEventListener('input', () => {
    const labels = props.value.labels.map((each, at) => (at === index ? {...each, name: field.value} : {...each}));
    drawn = shape({labels}); // the page shows it already: drawing again would move the caret
    props.value = {labels}; // which fires `change`
  });
  const count = `${label.rows.toLocaleString('en')} ${label.rows === 1 ? 'row' : 'rows'}`;
  row.append(part('span', 'label-value', label.value), part('span', 'label-rows', count), field);
  return row;
}

function shape(value) {
  return JSON.stringify(value.labels);
}

function render() {
  const value = props.value;
  if (!value || shape(value) === drawn) return;
  drawn = shape(value);
  const legend = part('legend', '', 'Names of the labels');
  const help = part('p', 'quiet', 'What the templates call each label. Clear a name to leave its rows out.');
  fieldset.replaceChildren(legend, help, ...value.labels.map(line));
  fieldset.hidden = value.labels.length === 0;
}

watch('value', render);
render();
