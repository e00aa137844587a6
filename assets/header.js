// What the engine is doing. gr.HTML runs this with `element` and `server` given; texts are set as text.

const EVERY = 2000; // milliseconds
const GONE = {state: 'out of order', words: 'The studio does not answer. Is it running?', machine: ''};
let studio = null; // which one answered first

function tell({state, words, machine}) {
  const chip = element.querySelector('.chip');
  chip.className = `chip chip-${state.replaceAll(' ', '-')}`;
  // a screen reader says what is set, so only what is new is
  if (chip.textContent !== words) chip.textContent = words;
  chip.nextElementSibling.textContent = machine;
}

async function look() {
  if (!element.isConnected) return;
  if (!document.hidden) {
    const now = await server.ask(null).catch(() => null) ?? GONE;
    if (studio && now.studio && now.studio !== studio) location.reload(); // it was started anew and knows nothing of this page
    studio ??= now.studio ?? null;
    tell(now);
  }
  setTimeout(look, EVERY);
}

look();
