// Answers to choose between, one item after the other. gr.HTML runs this with `element`, `props`, `watch` and `server` given.
//
// Everything said is asked of the studio (`server.ask`), which keeps it before it sends the next item. Nothing is known here
// of who made an answer, and nothing is remembered: sides are drawn and votes are kept by the studio. Texts are set as text.

const part = name => element.querySelector(`[data-part="${name}"]`);
const buttons = name => element.querySelectorAll(`[data-do="${name}"]`);
const GONE = 'The studio does not answer. Is it running? Nothing was kept of this; try again.';
const ROLES = {system: 'Instructions', user: 'Question', assistant: 'Answer'};
const PLACES = ['1st', '2nd', '3rd', '4th', '5th', '6th', '7th', '8th', '9th'];

let seat = null; // where the page asks from: batch and annotator
let asked = null; // of which seat, and at which serial
let shown = null; // the studio's last answer
let arrived = false; // nothing was shown at this seat yet
let busy = false; // something said is on its way
let latest = 0; // the number of the newest request: an older one's answer comes too late
let strength = null; // 1 a little, 2 clearly, 3 much better
let order = []; // answers put in order so far, the best first: {place, equal}; equal: as good as the one before
let editing = false; // the guidelines are being written
let dragged = null; // the answer that is being dragged

// ---- small pieces of page

function node(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function setText(name, text) {
  if (part(name).textContent !== text) part(name).textContent = text;
}

function setOff(name, off) {
  buttons(name).forEach(button => button.setAttribute('aria-disabled', off)); // truly disabled, it would lose the focus and the keys
}

function complain(problems) {
  part('problems').replaceChildren(...problems.map(text => node('li', {textContent: text})));
  part('problems').hidden = problems.length === 0;
}

function turns(messages, always) {
  const bare = messages.length === 1 && !always;
  return messages.map(({role, content}) => node('div', {className: `labeller-turn labeller-${role}`},
    ...(bare ? [] : [node('span', {className: 'labeller-role', textContent: ROLES[role] ?? role})]),
    node('p', {className: 'plain-text', dir: 'auto', textContent: content || '(empty)'})));
}

// ---- what is shown

const isPair = () => shown.item.answers.length === 2;

function show(answer) {
  complain(answer.problems);
  if (answer.turn === undefined) return false; // only problems: what was shown stays
  const same = shown?.item && answer.item && shown.turn === answer.turn && shown.item.number === answer.item.number;
  shown = answer;
  part('note').hidden = !answer.note;
  setText('note', answer.note);
  showProgress();
  if (!editing) showGuidelines();
  if (arrived && answer.guidelines && answer.done + answer.skipped === 0) setPane(true); // whoever begins reads them first
  arrived = false;
  part('item').hidden = !answer.item;
  part('done').hidden = Boolean(answer.item);
  if (!answer.item) showDone();
  else if (!same) showItem();
  return true;
}

function showProgress() {
  const {done, skipped, total, progress, pace} = shown;
  setText('progress', progress);
  setText('pace', pace);
  setText('who', `· as ${seat.annotator}`); // a vote goes where this says, also while another name is being typed
  part('bar').max = Math.max(1, total);
  part('bar').value = done + skipped;
}

function showItem() {
  const {prompt, answers} = shown.item;
  [strength, order] = [null, []];
  setText('question', isPair() ? 'Which answer is better?' : 'Put the answers in order, the best first');
  part('prompt').replaceChildren(...turns(prompt, prompt.length > 1));
  part('answers').replaceChildren(...answers.map(answerCard));
  part('answers').dataset.count = answers.length;
  part('prompt').scrollTop = prompt.length > 1 ? part('prompt').scrollHeight : 0; // of several turns the last is what is answered
  for (const name of ['first', 'second', 'tie']) buttons(name).forEach(button => { button.hidden = !isPair(); });
  for (const name of ['confirm', 'equal']) buttons(name).forEach(button => { button.hidden = isPair(); });
  part('strength').hidden = !isPair();
  part('ranking').hidden = isPair();
  setText('bad-words', isPair() ? 'Both bad' : 'All bad');
  setText('bad-key', isPair() ? '4' : '0');
  showStrength();
  showOrder();
}

function answerCard(messages, place) {
  const label = `Answer ${place + 1}`;
  const head = node('div', {className: 'labeller-answer-head'}, node('span', {className: 'labeller-name', textContent: label}));
  if (!isPair()) {
    head.draggable = true;
    head.addEventListener('dragstart', event => drag(event, place));
    head.append(node('button', {type: 'button', className: 'labeller-place', onclick: () => actPlace(place)}));
  }
  const text = node('div', {className: 'labeller-text', tabIndex: 0}, ...turns(messages, false));
  text.setAttribute('role', 'group');
  text.setAttribute('aria-label', label);
  return node('div', {className: 'labeller-answer'}, head, text);
}

function showDone() {
  const {done, skipped, total, with_others: others} = shown;
  setText('question', others ? 'Nothing for you just now' : total ? 'All done' : 'Nothing for you here');
  setText('done-words', doneWords(done, skipped, others));
  buttons('again').forEach(button => { button.hidden = !others; });
  setOff('back', done + skipped === 0);
}

function doneWords(done, skipped, others) {
  const mine = `${done} done${skipped ? `, ${skipped} skipped` : ''}`;
  if (others) {
    const items = others === 1 ? 'The last item is' : `The last ${others} items are`;
    return `${mine}. ${items} in front of somebody else now. What they leave comes back after ten minutes; look again then.`;
  }
  if (done + skipped === 0) return 'Others have labelled all there is. Begin another batch, or see under Quality how far they agree.';
  return `You have seen all there is for you: ${mine}. See under Quality how far people agree, or make rows to learn from under Take away.`;
}

function showStrength() {
  element.querySelectorAll('[data-strength]').forEach(button => {
    button.setAttribute('aria-pressed', Number(button.dataset.strength) === strength);
  });
}

// ---- the order of several answers

const isPlaced = place => order.some(one => one.place === place);

/** The rank of each placed answer: 1 is the best, equals share one. */
function ranks() {
  const found = new Map();
  let rank = 0;
  for (const [at, {place, equal}] of order.entries()) {
    if (at === 0 || !equal) rank += 1;
    found.set(place, rank);
  }
  return found;
}

function showOrder() {
  if (isPair()) return;
  const focused = document.activeElement?.closest?.('.labeller-chip')?.dataset.place;
  const ranked = ranks();
  part('order').replaceChildren(...order.map((one, at) => orderChip(one, at, ranked.get(one.place))));
  [...element.querySelectorAll('.labeller-place')].forEach((button, place) => {
    const rank = ranked.get(place);
    button.replaceChildren(rank ? `${PLACES[rank - 1]} · take back ` : 'Place next ', node('kbd', {textContent: place + 1}));
    button.closest('.labeller-answer').classList.toggle('labeller-placed', Boolean(rank));
  });
  const missing = shown.item.answers.length - order.length;
  setText('order-hint', missing ? 'Press the numbers, the best answer first, or drag the answers here.' : 'Arrow keys or the mouse still move them.');
  setOff('confirm', missing > 0);
  setOff('equal', order.length < 2);
  if (focused !== undefined) part('order').querySelector(`[data-place="${focused}"]`)?.focus();
}

function orderChip({place, equal}, at, rank) {
  const chip = node('button', {type: 'button', className: 'labeller-chip', draggable: true, textContent: `${PLACES[rank - 1]}  Answer ${place + 1}`});
  chip.dataset.place = place;
  chip.setAttribute('aria-label', `Answer ${place + 1}, place ${rank}. Arrow keys move it, Delete takes it out.`);
  chip.addEventListener('dragstart', event => drag(event, place));
  chip.addEventListener('keydown', event => onChipKey(event, at));
  if (at === 0) return node('li', {}, chip);
  const link = node('button', {type: 'button', className: 'labeller-link', textContent: equal ? '=' : '>', onclick: () => setEqual(at, !equal)});
  link.setAttribute('aria-label', equal ? 'as good as' : 'better than');
  link.title = equal ? 'As good as. Press to change.' : 'Better than. Press to change.';
  return node('li', {}, link, chip);
}

function onChipKey(event, at) {
  const to = {ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1}[event.key];
  if (event.key === 'Delete' || event.key === 'Backspace') takeOut(order[at].place);
  else if (to === undefined) return;
  else if (to >= 0 && to < order.length) putAt(order[at].place, to);
  event.preventDefault();
}

function putAt(place, at) {
  order = order.filter(one => one.place !== place);
  order.splice(at, 0, {place, equal: false});
  order[0].equal = false;
  showOrder();
}

function takeOut(place) {
  order = order.filter(one => one.place !== place);
  if (order.length) order[0].equal = false;
  showOrder();
}

function setEqual(at, equal) {
  order[at].equal = equal;
  showOrder();
}

function actPlace(place) {
  if (busy) return;
  if (isPlaced(place)) takeOut(place);
  else putAt(place, order.length);
}

function drag(event, place) {
  dragged = place;
  event.dataTransfer.effectAllowed = 'move';
  event.dataTransfer.setData('text/plain', `Answer ${place + 1}`);
}

/** Before how many of the others the pointer is: reading order, line by line. */
function dropAt(event) {
  const others = [...part('order').children].filter((_, at) => order[at].place !== dragged);
  const found = others.findIndex(item => {
    const box = item.getBoundingClientRect();
    return event.clientY < box.top || (event.clientY <= box.bottom && event.clientX < box.left + box.width / 2);
  });
  return found < 0 ? others.length : found;
}

function onDragOver(event) {
  if (dragged === null) return;
  event.preventDefault();
  part('ranking').classList.add('labeller-over');
}

function onDrop(event) {
  if (dragged === null) return;
  event.preventDefault();
  putAt(dragged, dropAt(event));
  dragged = null;
}

// ---- asking the studio

async function ask(request) {
  const number = ++latest;
  busy = request.do !== 'look';
  const answer = await server.ask({...request, ...seat}).catch(() => null) ?? {problems: [GONE]};
  if (number !== latest) return false;
  busy = false;
  const done = show(answer);
  look(); // the batch or the name may have changed meanwhile
  return done;
}

/** Ask for the item, if the page is in view and has not asked from this seat yet. */
function look() {
  const {batch, annotator, serial} = props.value;
  const now = JSON.stringify([batch, annotator, serial]);
  part('empty').hidden = Boolean(batch);
  part('work').hidden = !batch;
  if (asked === now || busy || element.offsetParent === null) return;
  const moved = seat?.batch !== batch || seat?.annotator !== annotator;
  const left = moved ? seat : null;
  asked = now;
  seat = batch ? {batch, annotator} : null;
  if (moved) shown = null, arrived = true, setPane(false);
  if (seat) ask({do: 'look', left});
}

async function say(verdict, ranks = []) {
  const words = {tie: 'Equally good', 'both bad': 'Bad', skipped: 'Skipped'}[verdict] ?? 'Kept';
  const given = verdict === 'ranked' && isPair() ? strength : null;
  if (!await ask({do: 'vote', item: shown.item.number, turn: shown.turn, verdict, ranks, strength: given}) || !shown) return;
  setText('spoken', `${words}. ${shown.progress}. ${shown.item ? 'The next item is here.' : part('done-words').textContent}`);
}

async function takeBack() {
  if (order.length && shown.item) return takeOut(order.at(-1).place);
  if (await ask({do: 'undo', turn: shown.turn}) && shown && !shown.note) setText('spoken', `Taken back. ${shown.progress}. The item is here again.`);
}

// ---- the guidelines

function setPane(open) {
  part('pane').hidden = !open;
  buttons('guidelines').forEach(button => button.setAttribute('aria-expanded', open));
  if (!open) setEditing(false);
}

function setEditing(on) {
  editing = on;
  part('guidelines').hidden = on;
  part('writing').hidden = !on;
  for (const [name, hidden] of [['edit', on], ['save', !on], ['leave', !on]]) buttons(name).forEach(button => { button.hidden = hidden; });
  if (shown && !on) showGuidelines();
}

function showGuidelines() {
  setText('guidelines', shown.guidelines || 'None yet. Write down what makes an answer better, so that everybody judges alike.');
}

function edit() {
  part('written').value = shown.guidelines;
  setEditing(true);
  part('written').focus();
}

async function save() {
  if (!await ask({do: 'guide', guidelines: part('written').value, before: shown.guidelines}) || !shown || shown.note) return;
  setEditing(false);
  buttons('edit')[0].focus();
  setText('spoken', 'The guidelines are saved.');
}

// ---- keys and buttons

const actions = {
  first: () => say('ranked', [1, 2]),
  second: () => say('ranked', [2, 1]),
  tie: () => say('tie'),
  bad: () => say('both bad'),
  skip: () => say('skipped'),
  undo: takeBack,
  back: takeBack,
  again: () => ask({do: 'look'}),
  confirm: () => say('ranked', shown.item.answers.map((_, place) => ranks().get(place))),
  equal: () => setEqual(order.length - 1, !order.at(-1).equal),
  guidelines: () => setPane(part('pane').hidden),
  edit, save,
  leave: () => { setEditing(false); buttons('edit')[0].focus(); },
};

function act(name) {
  const button = [...buttons(name)].find(one => one.getClientRects().length > 0);
  if (!busy && shown && button && button.getAttribute('aria-disabled') !== 'true') actions[name]();
}

function actStrength(value) {
  strength = strength === value ? null : value;
  showStrength();
}

element.addEventListener('click', event => {
  const button = event.target.closest('[data-do], [data-strength]');
  if (button?.dataset.do) act(button.dataset.do);
  else if (button) actStrength(Number(button.dataset.strength));
});
part('written').addEventListener('keydown', event => {
  if (event.isComposing) return;
  if (event.key === 'Escape') act('leave');
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) act('save');
});
part('ranking').addEventListener('dragover', onDragOver);
part('ranking').addEventListener('dragleave', () => part('ranking').classList.remove('labeller-over'));
part('ranking').addEventListener('drop', onDrop);
element.addEventListener('dragend', () => { dragged = null; });
element.addEventListener('drop', () => part('ranking').classList.remove('labeller-over'));

const KEYS = {s: 'skip', u: 'undo', g: 'guidelines'};
const PAIR_KEYS = {...KEYS, 1: 'first', 2: 'second', 3: 'tie', 4: 'bad'};
const RANKING_KEYS = {...KEYS, 0: 'bad', '=': 'equal', Enter: 'confirm'};
const STRENGTH_KEYS = {q: 1, w: 2, e: 3};

/** The key as it is printed; where a digit needs Shift on this keyboard, the one on its cap. */
function printed(event) {
  const digit = /^Digit(\d)$/.exec(event.code);
  return digit && !event.shiftKey ? digit[1] : event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function isTyping(target) {
  return target.isContentEditable || (target.matches?.('input:not([type=checkbox]), textarea, select') && !target.readOnly);
}

function onKey(event) {
  if (!element.isConnected) return document.removeEventListener('keydown', onKey);
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || event.defaultPrevented) return;
  if (!shown || element.offsetParent === null || isTyping(event.target)) return;
  if (event.key === 'Enter' && event.target.closest?.('button, a, summary, [role=tab], [role=button]')) return; // it presses that
  if (takeKey(printed(event))) event.preventDefault();
}

/** Whether the key means something here. */
function takeKey(key) {
  if (!shown.item) return key === 'u' ? (act('back'), true) : key === 'g' && (act('guidelines'), true);
  if (isPair() && key in STRENGTH_KEYS) return actStrength(STRENGTH_KEYS[key]), true;
  if (!isPair() && key >= '1' && key <= String(shown.item.answers.length)) return actPlace(Number(key) - 1), true;
  const name = (isPair() ? PAIR_KEYS : RANKING_KEYS)[key];
  if (name) act(name);
  return Boolean(name);
}

document.addEventListener('keydown', onKey);
new IntersectionObserver(look).observe(element);
watch('value', look);
setEditing(false);
look();
