// Votes on two answers. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; words are set as text.

const QUESTION = '#chat-prompt'; // Escape leaves this box, so that the keys work
const KEYS = {1: 'left', 2: 'right', 3: 'tie', 4: 'both bad', u: 'undo'};
const bar = element.querySelector('.vote-bar');
const line = element.querySelector('.vote-line');
const buttons = [...element.querySelectorAll('button')];

function render() {
  const {open, vote, undo, line: words} = props.value;
  for (const button of buttons) {
    const what = button.dataset.do;
    button.disabled = what === 'undo' ? !undo : !open;
    if (what !== 'undo') button.setAttribute('aria-pressed', String(what === vote));
  }
  if (line.textContent !== words) line.textContent = words;
}

function act(what) {
  if (buttons.find(button => button.dataset.do === what).disabled) return;
  props.value = {...props.value, asked: {do: what, turn: props.value.turn}};
  trigger('select');
}

function isTyping(target) {
  return target.isContentEditable || target.matches('input:not([type=checkbox], [type=radio]), textarea, select');
}

function onKey(event) {
  if (!element.isConnected) return document.removeEventListener('keydown', onKey);
  if (element.offsetParent === null || event.isComposing) return;
  if (event.key === 'Escape' && event.target.closest(QUESTION)) return bar.focus({preventScroll: true});
  const what = KEYS[event.key.toLowerCase()];
  const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.repeat);
  if (!what || !plain || isTyping(event.target)) return;
  event.preventDefault();
  act(what);
}

for (const button of buttons) button.addEventListener('click', () => act(button.dataset.do));
document.addEventListener('keydown', onKey);
watch('value', render);
render();
