// Rows of a draft, written in cards. gr.HTML runs this with `element`, `props`, `watch`, `trigger` and `server` given.
//
// Every change is asked of the studio (`server.ask`) one after the other, so that an edit is kept before what comes next.
// What was typed and is not kept yet also lies in the browser's own storage, and is sent when the draft is opened again.

const root = element.querySelector('.row-editor');
const part = name => root.querySelector(`[data-part="${name}"]`);
const WAIT = 300; // milliseconds from the last key to saving
const LONGEST_WAIT = 700; // from the first key: who types steadily is saved too, before it stood there for a second
const RETRY = 2000; // milliseconds, while the studio does not answer
const HOW = {hand: 'by hand', imported: 'imported', template: 'by template', generated: 'generated', augmented: 'augmented'};
const ALL = {words: '', tag: '', how: '', unfinished: false, page: 0};

let draft = null;
let serial = null;
let view = {...ALL};
let shown = null; // the last page the studio sent
let queue = Promise.resolve();
const cards = new Map(); // row id: its card
const ticked = new Set(); // row ids, on whatever page
let pastedBehind = null; // the row that pasted rows come behind
let pastedInto = null; // the field that was pasted into

// ---- small pieces of page

function node(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(text, onclick, label = '') {
  const made = node('button', {type: 'button', textContent: text, onclick});
  if (label) made.setAttribute('aria-label', label);
  return made;
}

const rowsInWords = count => count === 1 ? '1 row' : `${count.toLocaleString('en')} rows`;
const isField = target => target.matches?.('textarea, input:not([type="checkbox"]), select, [contenteditable="true"]');
const filtered = () => Boolean(view.words.trim() || view.tag || view.how || view.unfinished);

/** Does its work WAIT after it was last put off, and no later than LONGEST_WAIT after it was first. */
class Soon {
  constructor(work) {
    this.work = work;
    this.timer = 0;
    this.since = 0;
  }

  putOff() {
    this.since ||= performance.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(this.work, Math.min(WAIT, this.since + LONGEST_WAIT - performance.now()));
  }

  cancel() {
    clearTimeout(this.timer);
    this.since = 0;
  }
}

// ---- asking the studio

function inTurn(work) {
  queue = queue.then(work).catch(error => {
    console.error(error);
    notice('Something went wrong on this page. Reload it; what you wrote is kept.');
  });
  return queue;
}

/** The answer, or an error where there is none: Gradio then gives nothing back. */
async function reach(request) {
  const answer = await server.ask(request);
  if (!answer) throw new Error('the studio does not answer');
  return answer;
}

/** The answer; null, with a notice, where there is none. */
async function ask(request) {
  const asked = {draft, ...request};
  try {
    const answer = await reach(asked);
    if (asked.draft !== draft) return null;
    if (answer.problems && !answer.stale) notice(answer.problems.join(' '));
    return answer.problems && !answer.stale ? null : answer;
  } catch {
    notice('The studio does not answer. What you wrote is kept here; try again once it runs.');
    return null;
  }
}

/** The answer to what may be asked twice: asks until the studio answers, or the page is left. */
async function askUntilHeard(request) {
  for (;;) {
    try {
      return await reach(request);
    } catch {
      if (!root.isConnected) return null;
      saved('not saved yet: the studio does not answer; trying again', true);
      await new Promise(resolve => setTimeout(resolve, RETRY));
    }
  }
}

/** Something done to the draft, and the page as it is then. */
function act(request, then = () => {}) {
  notice('');
  flush();
  return inTurn(async () => {
    const answer = await ask({...request, view});
    if (!answer) return;
    show(answer);
    then(answer);
  });
}

const look = (more = {}) => act({do: 'look', ...more});

// ---- words about what happens

function saved(words, isWarning = false) {
  part('saved').textContent = words;
  part('saved').classList.toggle('warn', isWarning);
}

/** Say that all is saved, once it is. */
function settle() {
  const typing = [...cards.values()].some(card => card.dirty) || descriptions.some(field => field.value !== (field.cameAs ?? ''));
  if (!typing) saved(shown?.there ? 'saved' : '');
}

function notice(words, doWords = '', doIt = null) {
  part('notice').hidden = !words;
  part('notice-words').textContent = words;
  part('notice-do').hidden = !doIt;
  part('notice-do').textContent = doWords;
  part('notice-do').onclick = () => { notice(''); doIt(); };
}
part('notice-close').onclick = () => notice('');

// ---- what was typed and is not kept yet

const keptName = (draft, row = '') => `studio-unsaved ${draft} ${row}`;

function remember(card) {
  try {
    localStorage.setItem(keptName(card.draft, card.id), JSON.stringify({record: card.record(), based: card.revision, at: Date.now()}));
  } catch { /* full or forbidden: the studio keeps it in a moment */ }
}

function forget(card) {
  try { localStorage.removeItem(keptName(card.draft, card.id)); } catch { /* nothing was kept */ }
}

/** Send what an earlier page could not: it was closed too soon, or the studio did not answer. */
async function sendKept() {
  const old = Date.now() - 3000; // younger ones are being typed in another window
  for (const name of Object.keys(localStorage).filter(name => name.startsWith(keptName(draft)))) {
    const row = Number(name.slice(keptName(draft).length));
    const kept = JSON.parse(localStorage.getItem(name));
    if (kept.at > old) continue;
    const answer = await ask({do: 'edit', row, based: kept.based, record: kept.record});
    if (!answer) continue;
    localStorage.removeItem(name);
    if (answer.stale) await showKept(row, kept, answer.theirs);
    else look();
  }
}

/** Text of an earlier page, whose row says something else by now. */
async function showKept(row, kept, theirs) {
  if (!theirs) {
    notice('You wrote in a row that was deleted since.', 'Add it as a new row', () => act({do: 'add', record: kept.record}));
    return;
  }
  const answer = await ask({do: 'look', view, holding: row});
  if (answer) show(answer);
  const card = cards.get(row);
  card?.fill(kept.record);
  card?.clash(theirs);
}

// ---- the page of rows

function show(answer) {
  shown = answer;
  view.page = answer.page;
  const list = part('rows');
  const held = holdKeyboard(list);
  const there = new Set(answer.rows.map(row => row.id));
  for (const [id, card] of cards) {
    if (there.has(id) || (card.dirty && !card.theirs.hidden && document.contains(card.li))) continue; // a text to choose from stays
    card.li.remove();
    cards.delete(id);
  }
  answer.rows.forEach((row, index) => {
    const card = cards.get(row.id) ?? new Card(row);
    if (cards.has(row.id)) card.take(row);
    cards.set(row.id, card);
    if (list.children[index] !== card.li) list.insertBefore(card.li, list.children[index] ?? null);
    card.areas().forEach(grow);
  });
  held();
  around(answer);
  showDescription(answer);
  showFind(answer);
  showTicks();
  showPager(answer);
  if (answer.focus != null) focusRow(answer);
  settle();
}

/** What puts the keyboard and the caret back where they are now, wherever their field goes. */
function holdKeyboard(list) {
  const field = document.activeElement;
  if (!list.contains(field)) return () => {};
  const [start, end] = [field.selectionStart, field.selectionEnd];
  return () => {
    if (document.activeElement === field || !field.isConnected) return;
    field.focus({preventScroll: true});
    if (start != null) field.setSelectionRange(start, end);
  };
}

function focusRow(answer) {
  const card = cards.get(answer.focus);
  if (!card) return;
  card.areas()[0]?.focus();
  card.li.scrollIntoView({block: 'nearest'});
}

/** What stands around the rows: what can be undone, and what there is to save. */
function around(answer) {
  for (const name of ['undo', 'redo']) {
    const what = answer[name];
    part(name).disabled = !what;
    part(name).title = what ? `${name === 'undo' ? 'Undo' : 'Redo'}: ${what}` : `Nothing to ${name}`;
  }
  part('save').disabled = answer.there === 0;
}

function showFind(answer) {
  options(part('tag'), view.tag, 'Any', answer.tags);
  options(part('how'), view.how, 'In any way', answer.hows, how => HOW[how] ?? how);
  part('tags').replaceChildren(...answer.tags.map(([tag]) => node('option', {value: tag})));
  part('unfinished').checked = view.unfinished;
  if (document.activeElement !== part('words')) part('words').value = view.words;
  part('empty').hidden = answer.rows.length > 0;
  part('empty').textContent = answer.there
    ? 'No row fits. Change or clear what you search for.'
    : 'No rows yet. Press “Add a row”, or copy cells in a spreadsheet and press “Paste rows”. What you write is saved as you type.';
}

/** The choices of a select with how many rows each finds; what is chosen stays a choice, also where it finds none. */
function options(select, value, any, counts, inWords = name => name) {
  const all = value && !counts.some(([name]) => name === value) ? [...counts, [value, 0]] : counts;
  select.replaceChildren(node('option', {value: '', textContent: any}), ...all.map(([name, count]) =>
    node('option', {value: name, textContent: `${inWords(name)} (${count.toLocaleString('en')})`})));
  select.value = value;
  select.disabled = all.length === 0;
}

function showPager(answer) {
  part('pager').hidden = answer.there === 0;
  part('back').hidden = part('on').hidden = answer.pages < 2;
  part('back').disabled = answer.page === 0;
  part('on').disabled = answer.page === answer.pages - 1;
  const found = filtered() ? `${rowsInWords(answer.found)} of ${answer.there.toLocaleString('en')} found` : rowsInWords(answer.there);
  const place = answer.pages < 2 ? '' : `page ${(answer.page + 1).toLocaleString('en')} of ${answer.pages.toLocaleString('en')} · `;
  part('page-words').textContent = place + found;
}

// ---- ticked rows

function tick(id, isTicked) {
  isTicked ? ticked.add(id) : ticked.delete(id);
  showTicks();
}

function showTicks() {
  const ids = shown.rows.map(row => row.id);
  const here = ids.filter(id => ticked.has(id)).length;
  part('many').hidden = ids.length === 0 && ticked.size === 0;
  part('tick-page').checked = ids.length > 0 && here === ids.length;
  part('tick-page').indeterminate = here > 0 && here < ids.length;
  part('ticked').textContent = ticked.size ? `${rowsInWords(ticked.size)} ticked` : '';
  part('many-buttons').hidden = ticked.size === 0;
  part('tick-found').hidden = here < ids.length || shown.found <= ids.length || ticked.size >= shown.found;
  part('tick-found').textContent = `Tick all ${shown.found.toLocaleString('en')} found`;
  cards.forEach(card => { card.tick.checked = ticked.has(card.id); });
}

function many(request) {
  act({rows: [...ticked], ...request}, () => {
    if (request.do !== 'delete') return;
    ticked.clear();
    showTicks();
    part('undo').focus();
  });
}

part('tick-page').onchange = () => {
  shown.rows.forEach(row => part('tick-page').checked ? ticked.add(row.id) : ticked.delete(row.id));
  showTicks();
};
part('tick-found').onclick = () => inTurn(async () => {
  const answer = await ask({do: 'found', view});
  answer?.ids.forEach(id => ticked.add(id));
  showTicks();
});
part('many-duplicate').onclick = () => many({do: 'duplicate'});
part('many-delete').onclick = () => many({do: 'delete'});
part('many-tag').onclick = () => many({do: 'tag', tag: part('many-tag-text').value});
part('many-untag').onclick = () => many({do: 'untag', tag: part('many-tag-text').value});

// ---- finding

let finding = 0;

function find(changed, wait = 0) {
  view = {...view, ...changed, page: 0};
  clearTimeout(finding);
  finding = setTimeout(() => look(), wait);
}
part('words').oninput = () => find({words: part('words').value}, WAIT);
part('tag').onchange = () => find({tag: part('tag').value});
part('how').onchange = () => find({how: part('how').value});
part('unfinished').onchange = () => find({unfinished: part('unfinished').checked});
part('back').onclick = () => turn(-1);
part('on').onclick = () => turn(+1);

function turn(by) {
  flush();
  view.page += by;
  look().then(() => root.scrollIntoView({block: 'start'}));
}

// ---- adding, undo and redo

function add(behind = null) {
  if (filtered()) view = {...ALL}; // an empty row fits no search
  act({do: 'add', behind});
}

function takeBack(what) {
  act({do: what}, () => trigger('described'));
}

function flush() {
  cards.forEach(card => card.save());
  describe();
}

part('add').onclick = () => add();
part('undo').onclick = () => takeBack('undo');
part('redo').onclick = () => takeBack('redo');

root.addEventListener('focusout', flush);
root.addEventListener('keydown', event => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
  const card = [...cards.values()].find(one => one.li.contains(event.target));
  if (!card) return;
  event.preventDefault();
  add(card.id);
});

function onKey(event) {
  if (!root.isConnected) return leave();
  const wants = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'z';
  if (!wants || isField(event.target) || root.offsetParent === null || !draft) return;
  event.preventDefault();
  takeBack(event.shiftKey ? 'redo' : 'undo');
}

function onHide() {
  if (root.isConnected) flush();
}

function leave() {
  document.removeEventListener('keydown', onKey);
  document.removeEventListener('visibilitychange', onHide);
  window.removeEventListener('pagehide', onHide);
}
document.addEventListener('keydown', onKey);
document.addEventListener('visibilitychange', onHide);
window.addEventListener('pagehide', onHide);

// ---- the draft's name, who writes, and the guidelines

const guidelines = [...root.querySelectorAll('[data-guideline]')];
const descriptions = [part('name'), part('author'), ...guidelines];
const narrow = window.matchMedia('(max-width: 880px)'); // there the guidelines stand below, to be read
const describing = new Soon(describe);

/** Show what a draft is called and how it is to be written; what is being typed stays. */
function showDescription(answer) {
  const came = [answer.name, answer.author, ...guidelines.map(field => answer.guidelines[field.dataset.guideline] ?? '')];
  descriptions.forEach((field, index) => {
    if (field.cameAs !== undefined && (field.value !== field.cameAs || field === document.activeElement)) return;
    field.cameAs = came[index].replace(/\r\n?/g, '\n');
    if (field.value !== field.cameAs) field.value = field.cameAs;
    if (field.dataset.guideline) grow(field);
  });
}

/** Keep what was typed there. */
function describe() {
  describing.cancel();
  const changed = descriptions.filter(field => field.cameAs !== undefined && field.value !== field.cameAs);
  if (!changed.length) return;
  const request = {do: 'describe', draft, guidelines: {}};
  changed.forEach(field => {
    field.cameAs = field.value;
    if (field.dataset.guideline) request.guidelines[field.dataset.guideline] = field.value;
    else request[field.dataset.part] = field.value;
  });
  inTurn(() => sendDescription(request));
}

async function sendDescription(request) {
  const answer = await askUntilHeard(request);
  if (!answer || request.draft !== draft) return;
  if (answer.problems) { notice(answer.problems.join(' ')); saved('not saved', true); return; }
  around(answer);
  showDescription(answer);
  settle();
  if (request.name !== undefined) trigger('described');
}

descriptions.forEach(field => {
  field.oninput = () => {
    saved('saving…');
    describing.putOff();
    if (field.dataset.guideline) grow(field);
  };
});

function readOrWrite() {
  guidelines.forEach(field => { field.readOnly = narrow.matches; });
}
narrow.addEventListener('change', readOrWrite);
readOrWrite();

// ---- pasting cells

const looksLikeCells = text => /\t/.test(text) && !/^\t/m.test(text);
let previewing = 0;

function openPaste(text = '', behind = null, into = null) {
  pastedBehind = behind;
  pastedInto = into;
  part('paste-panel').hidden = false;
  part('paste').setAttribute('aria-expanded', 'true');
  part('paste-help').textContent = shown?.record === 'text'
    ? 'One column, one document in each cell.'
    : 'Two columns (user, assistant) or three (system, user, assistant). Copy the cells and paste them here.';
  part('paste-text').value = text;
  part('paste-inside').hidden = !into;
  preview();
  (text ? part('paste-add') : part('paste-text')).focus();
}

function closePaste() {
  part('paste-panel').hidden = true;
  part('paste').setAttribute('aria-expanded', 'false');
  part('paste-text').value = '';
}

/** What pasting would add, in words. */
function preview() {
  const text = part('paste-text').value;
  part('paste-add').disabled = true;
  part('paste-words').textContent = '';
  if (!text.trim()) return;
  inTurn(async () => {
    const answer = await reach({do: 'preview', draft, text}).catch(() => ({problems: ['The studio does not answer. Try again.']}));
    if (text !== part('paste-text').value) return;
    part('paste-words').textContent = answer.problems?.join(' ') ?? pasteWords(answer);
    part('paste-add').disabled = !answer.count;
    part('paste-add').textContent = answer.count ? `Add ${rowsInWords(answer.count)}` : 'Add rows';
    if (document.activeElement === document.body) part('paste-add').focus();
  });
}

function pasteWords(answer) {
  const header = answer.header.length ? ` The first row names the columns (${answer.header.join(', ')}) and is left out.` : '';
  return `${rowsInWords(answer.count)} will be added: ${answer.columns.join(', ')}.${header}`;
}

part('paste').onclick = () => part('paste-panel').hidden ? openPaste() : closePaste();
part('paste-close').onclick = closePaste;
part('paste-text').oninput = () => { clearTimeout(previewing); previewing = setTimeout(preview, WAIT); };
part('paste-add').onclick = () => {
  if (filtered()) view = {...ALL};
  act({do: 'paste', text: part('paste-text').value, behind: pastedBehind}, closePaste);
};
part('paste-inside').onclick = () => {
  const text = part('paste-text').value;
  closePaste();
  pastedInto.focus();
  pastedInto.setRangeText(text, pastedInto.selectionStart, pastedInto.selectionEnd, 'end');
  pastedInto.dispatchEvent(new Event('input', {bubbles: true}));
};
root.addEventListener('paste', event => {
  const text = event.clipboardData.getData('text/plain');
  const inField = isField(event.target);
  if (event.target.closest('[data-part="paste-panel"]') || !draft) return;
  if (inField ? !event.target.closest('.row-turn') || !looksLikeCells(text) : !/[\t\n]/.test(text)) return;
  event.preventDefault();
  const card = [...cards.values()].find(one => one.li.contains(event.target));
  openPaste(text, card?.id ?? null, inField ? event.target : null);
});

// ---- saving a version

part('save').onclick = () => {
  flush();
  inTurn(async () => {
    const answer = await ask({do: 'check'});
    if (answer && answer.left) showCheck(answer);
    else if (answer) submit(false);
  });
};

function showCheck(answer) {
  const [all, left] = [answer.there, answer.left];
  part('check-panel').hidden = false;
  const some = `${rowsInWords(left)} of ${all.toLocaleString('en')} cannot be learnt from yet.`;
  part('check-words').textContent = left === all
    ? 'No row can be learnt from yet. Finish at least one:'
    : `${some} Finish them, or leave them out of this version; they stay in the draft.`;
  part('check-rows').replaceChildren(...answer.named.map(({id, number, why}) =>
    node('li', {}, button(`Row ${number.toLocaleString('en')}`, () => jump(id)), ` ${why}`)));
  const more = left - answer.named.length;
  if (more) part('check-rows').append(node('li', {textContent: `and ${rowsInWords(more)} more`}));
  part('check-leave-out').hidden = left === all;
  part('check-leave-out').textContent = `Leave out ${rowsInWords(left)} and save`;
  part('check-panel').focus();
}

function jump(id) {
  view = {...ALL};
  look({holding: id});
}

function submit(leaveOut) {
  part('check-panel').hidden = true;
  props.value = {...props.value, leave_out: leaveOut};
  trigger('submit');
}
part('check-leave-out').onclick = () => submit(true);
part('check-close').onclick = () => { part('check-panel').hidden = true; };

// ---- opening a draft

function open() {
  const value = props.value;
  if (!value || value.serial === serial) return;
  const isOther = value.draft !== draft;
  serial = value.serial;
  if (isOther) reset(value.draft);
  if (draft) look().then(() => isOther && inTurn(sendKept));
}

function reset(id) {
  flush();
  descriptions.forEach(field => { field.cameAs = undefined; });
  draft = id;
  view = {...ALL};
  shown = null;
  ticked.clear();
  cards.forEach(card => card.li.remove());
  cards.clear();
  closePaste();
  notice('');
  saved('');
  part('check-panel').hidden = true;
}

part('tags').id = `row-editor-tags-${Math.random().toString(36).slice(2)}`;
watch('value', open);
open();
