// One conversation. gr.HTML runs this with `element`, `props`, `server` and `watch` given; every word is set as text, never as HTML.

const log = element.querySelector('.conversation-log');
const NEAR = 48; // pixels from the end that still count as reading along
const PAUSE = 200; // milliseconds between two looks at an answer that grows: twice as many cost both panes a quarter of their speed
const rows = []; // one per turn: its parts by name
let followed = ''; // the answer that is looked at

function part(parent, tag, name) {
  const node = document.createElement(tag);
  node.className = `conversation-${name}`;
  parent.append(node);
  return node;
}

function addRow() {
  const turn = part(log, 'section', 'turn');
  const row = {turn, question: part(turn, 'p', 'question'), answer: part(turn, 'p', 'answer'), notice: part(turn, 'p', 'notice')};
  row.question.dir = row.answer.dir = 'auto';
  const foot = part(turn, 'div', 'foot');
  row.line = part(foot, 'span', 'line');
  row.copy = part(foot, 'button', 'copy');
  row.copy.type = 'button';
  row.copy.textContent = 'Copy';
  row.copy.addEventListener('click', () => copy(row));
  rows.push(row);
}

async function copy(row) {
  try {
    await navigator.clipboard.writeText(row.answer.textContent);
  } catch { // no clipboard on a page from another machine: leave the answer selected, ready for Ctrl+C
    getSelection().selectAllChildren(row.answer);
    row.copy.textContent = 'Selected: press Ctrl+C';
    return;
  }
  row.copy.textContent = 'Copied';
  setTimeout(() => { row.copy.textContent = 'Copy'; }, 1500);
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text; // what is unchanged keeps the reader's selection
  node.hidden = !text;
}

function fill(row, turn, busy) {
  for (const name of ['question', 'answer', 'notice', 'line']) set(row[name], turn[name]);
  row.copy.hidden = !turn.answer || busy;
}

function isAtTheEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
}

function toTheEnd() {
  log.scrollTop = log.scrollHeight;
}

function grow(turn) {
  const following = isAtTheEnd();
  fill(rows.at(-1), turn, true);
  if (following) toTheEnd();
}

async function follow(key) {
  followed = key;
  while (element.isConnected && props.value.growing === key) {
    await new Promise((resume) => { setTimeout(resume, PAUSE); });
    if (document.hidden) continue;
    const turn = await server.grown(key).catch(() => undefined); // a try that fails is made again
    if (turn === null) break; // it is over, and the whole of it on its way
    if (turn && props.value.growing === key) grow(turn);
  }
  if (followed === key) followed = '';
}

function render() {
  const {turns, busy, empty, growing} = props.value;
  const following = isAtTheEnd() || turns.length > rows.length;
  log.setAttribute('aria-label', props.spoken);
  log.setAttribute('aria-busy', String(busy)); // a screen reader waits for the whole answer
  log.dataset.empty = turns.length ? '' : empty;
  while (rows.length > turns.length) rows.pop().turn.remove();
  while (rows.length < turns.length) addRow();
  const told = growing && growing === followed ? turns.slice(0, -1) : turns; // of what is followed this is older than what is shown
  told.forEach((turn, number) => fill(rows[number], turn, busy && number === turns.length - 1));
  if (following) toTheEnd();
  if (growing && growing !== followed) follow(growing);
}

watch('value', render);
render();
