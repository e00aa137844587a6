// Where a run comes from. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; the HTML is of our own
// making, with every name in it escaped.

const frame = element.querySelector('.run-graph-frame');
let shown = null; // the HTML on the page

function render() {
  const html = props.value?.html ?? '';
  if (html === shown) return;
  shown = html;
  const held = frame.contains(document.activeElement);
  frame.innerHTML = html;
  if (held) frame.querySelector('[aria-current]')?.focus(); // whoever pressed a key here can go on from here
}

frame.addEventListener('click', event => {
  const place = event.target.closest('[data-run]');
  if (!place || place.hasAttribute('aria-current')) return;
  props.value = {...props.value, open: place.dataset.run};
  trigger('select');
});

watch('value', render);
render();
