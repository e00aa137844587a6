// Tasks to review one at a time. gr.HTML runs this with `element`, `props`, `watch`, `trigger` and `server` given.
// Every decision is asked of the studio, which keeps it before the next task is shown; texts are set as text.

const part = name => element.querySelector(`[data-part="${name}"]`);
const fields = ['instruction', 'input', 'output'].map(part);
const kind = part('kind');
const GONE = 'The studio does not answer. Is it running? Nothing was decided; try again.';
let shown = null; // the last answer
let asked = null; // of which generation, and at which serial
let latest = 0; // the number of the newest request: an older one's answer comes too late
let busy = false; // a decision is on its way
let editing = false;

function setText(name, text) {
  if (part(name).textContent !== text) part(name).textContent = text;
}

function complain(problems) {
  part('problems').replaceChildren(...problems.map(text => {
    const item = document.createElement('li');
    item.textContent = text;
    return item;
  }));
  part('problems').hidden = problems.length === 0;
}

function setEditing(on) {
  editing = on;
  fields.forEach(field => { field.readOnly = !on; });
  kind.disabled = !on;
  setText('accept-words', on ? 'Accept as edited' : 'Accept');
  setText('edit-words', on ? 'Leave as it was' : 'Edit');
  part('accept').querySelector('kbd').textContent = on ? 'Ctrl+Enter' : 'A';
  setText('edit-key', on ? 'Esc' : 'E');
}

function fill(task) {
  fields.forEach(field => { field.value = task ? task[field.dataset.part] : ''; });
  kind.checked = Boolean(task && task.is_classification);
  setText('nearest', !task ? '' : task.nearest ? `Nearest in the pool: “${task.nearest}”, ROUGE-L ${task.score.toFixed(2)}` : 'Like nothing in the pool.');
}

function setButtons() {
  const nothing = busy || !shown || !shown.task;
  for (const name of ['accept', 'edit', 'reject']) part(name).disabled = nothing;
  part('undo').disabled = busy || editing || !shown || shown.accepted + shown.rejected === 0;
}

function counts({left, accepted, rejected}) {
  return `${left} left to review · ${accepted} accepted · ${rejected} rejected`;
}

function nothingLeft({accepted, rejected, more}) {
  if (more) return 'Nothing to review yet. Tasks that pass the filter come here as they are written.';
  if (accepted) return 'All are reviewed. Save what you accepted as a data set below.';
  return rejected ? 'All are reviewed, and none is accepted. Take a decision back, or set up another generation.' : 'No task passed the filter.';
}

function show(answer) {
  complain(answer.problems);
  if (answer.left === undefined) return; // only problems: what was shown stays
  const same = shown && shown.task && answer.task && shown.task.id === answer.task.id;
  shown = answer;
  setText('counts', counts(answer));
  part('task').hidden = !answer.task;
  part('empty').hidden = Boolean(answer.task);
  setText('empty', answer.task ? '' : nothingLeft(answer));
  if (same && editing) return; // more tasks have come: what is being typed stays
  setEditing(false);
  fill(answer.task);
}

async function ask(request) {
  if (busy || !props.value.generation) return;
  const number = ++latest;
  busy = request.do !== 'look';
  setButtons();
  const generation = props.value.generation;
  const answer = await server.ask({...request, generation}).catch(() => null) ?? {problems: [GONE]};
  if (number !== latest) return;
  busy = false;
  if (generation === props.value.generation) show(answer);
  setButtons();
  if (request.do !== 'look') trigger('change');
  look(); // more may have come meanwhile
}

function look() {
  const {generation, serial} = props.value;
  const now = `${generation} ${serial}`;
  if (asked === now || busy) return;
  if (!asked || !asked.startsWith(`${generation} `)) shown = null, setEditing(false);
  asked = now;
  ask({do: 'look'});
}

function edited() {
  const [instruction, input, output] = fields.map(field => field.value);
  return {instruction, input, output, is_classification: kind.checked};
}

const actions = {
  accept: () => ask({do: 'accept', id: shown.task.id, edited: editing ? edited() : null}),
  reject: () => ask({do: 'reject', id: shown.task.id}),
  undo: () => ask({do: 'undo'}),
  edit: () => {
    setEditing(!editing);
    fill(shown.task);
    (editing ? part('output') : part('edit')).focus();
    setButtons();
  },
};

function act(name) {
  if (!part(name).disabled) actions[name]();
}

for (const name of Object.keys(actions)) part(name).addEventListener('click', () => act(name));

element.addEventListener('keydown', event => {
  if (!editing || event.isComposing) return;
  if (event.key === 'Escape') act('edit');
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    act('accept');
  }
});

function isTyping(target) {
  return target.isContentEditable || (target.matches('input:not([type=checkbox], [type=radio]), textarea, select') && !target.readOnly);
}

function onKey(event) {
  if (!element.isConnected) return document.removeEventListener('keydown', onKey);
  const name = {a: 'accept', e: 'edit', r: 'reject', u: 'undo'}[event.key.toLowerCase()];
  const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat);
  if (!name || !plain || editing || element.offsetParent === null || isTyping(event.target)) return;
  event.preventDefault();
  act(name);
}

document.addEventListener('keydown', onKey);
watch('value', look);
setEditing(false);
setButtons();
look();
