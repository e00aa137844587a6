// One row of the row editor, in a card. Part of row_editor.js, whose names it uses.

const PLACEHOLDERS = {
  system: 'How the assistant should behave', user: 'What is asked', assistant: 'The answer to learn', text: 'A text to go on from',
};
const EMPTY_TURN = [{role: 'user', content: ''}, {role: 'assistant', content: ''}];

class Card {
  constructor(row) {
    this.draft = draft;
    this.id = row.id;
    this.revision = row.revision;
    this.dirty = false;
    this.saving = new Soon(() => this.save());
    this.li = node('li', {className: 'row-card'});
    this.head = node('div', {className: 'row-card-head'});
    this.fields = node('div', {className: 'row-card-fields'});
    this.below = node('div', {className: 'row-card-below row-editor-buttons'});
    this.problem = node('p', {className: 'row-card-problem'});
    this.theirs = node('div', {className: 'row-editor-warning row-editor-panel', hidden: true});
    this.theirs.setAttribute('role', 'alert');
    this.li.append(this.head, this.fields, this.problem, this.theirs, this.below);
    this.layHead();
    this.take(row);
  }

  layHead() {
    this.tick = node('input', {type: 'checkbox', onchange: () => tick(this.id, this.tick.checked)});
    this.number = node('input', {type: 'number', min: 1, className: 'row-card-number', title: 'Type another number to move the row there'});
    this.number.onchange = () => this.goTo(Math.max(1, Math.trunc(Number(this.number.value)) || 1), () => this.number.focus());
    this.made = node('span', {className: 'quiet'});
    this.chips = node('span', {className: 'row-card-tags'});
    this.tag = node('input', {className: 'row-card-tag', placeholder: 'Add a tag', maxLength: 60});
    this.tag.onkeydown = event => {
      if (event.isComposing || (event.key !== 'Enter' && event.key !== ',')) return;
      event.preventDefault();
      this.putTag();
    };
    this.tag.onchange = () => this.putTag();
    this.buttons = node('span', {className: 'row-editor-buttons row-card-buttons'});
    this.head.append(this.tick, this.number, this.made, this.chips, this.tag, this.buttons);
  }

  putTag() {
    const tag = this.tag.value.trim();
    this.tag.value = '';
    if (tag) act({do: 'tag', rows: [this.id], tag});
  }

  /** The row as the studio has it; what is being typed stays. */
  take(row) {
    this.row = row;
    this.showHead(row);
    if (!this.said) this.fill(row.record);
    else if (JSON.stringify(row.record) !== this.said) {
      if (this.dirty) return; // changed elsewhere: saving will tell
      this.fill(row.record);
    }
    this.said = JSON.stringify(row.record);
    this.revision = row.revision;
    this.theirs.hidden = true;
  }

  showHead(row) {
    const number = row.number.toLocaleString('en');
    this.tick.checked = ticked.has(this.id);
    this.tick.setAttribute('aria-label', `tick row ${number}`);
    this.number.value = row.number;
    this.number.setAttribute('aria-label', `row ${number}: its number`);
    this.tag.setAttribute('aria-label', `add a tag to row ${number}`);
    this.tag.setAttribute('list', part('tags').id);
    this.made.textContent = [HOW[row.how] ?? row.how, row.author].filter(Boolean).join(' · ');
    this.chips.replaceChildren(...row.tags.map(tag => this.chip(tag, number)));
    this.problem.textContent = row.problem ? `Unfinished: it ${row.problem}.` : '';
    this.showButtons(row, number);
  }

  chip(tag, number) {
    const untag = () => act({do: 'untag', rows: [this.id], tag}, () => this.tag.focus());
    return Object.assign(button(`${tag} ×`, untag, `take the tag ${tag} off row ${number}`), {className: 'row-card-chip'});
  }

  showButtons(row, number) {
    if (!this.buttons.childElementCount) {
      this.buttons.append(
        button('Up', () => this.step(-1, 0)), button('Down', () => this.step(+1, 1)),
        button('Duplicate', () => act({do: 'duplicate', rows: [this.id]}, focusRow)),
        button('Delete', () => act({do: 'delete', rows: [this.id]}, () => part('undo').focus())),
      );
    }
    const [up, down, ...others] = this.buttons.children;
    [up, down, ...others].forEach(one => one.setAttribute('aria-label', `${one.textContent} row ${number}`));
    up.disabled = row.number === 1;
    down.disabled = Boolean(shown) && row.number === shown.there;
  }

  goTo(number, then) {
    act({do: 'move', row: this.id, to: number}, then);
  }

  step(by, index) {
    this.goTo(this.row.number + by, () => {
      const again = this.buttons.children[index];
      (again.disabled ? this.buttons.children[1 - index] : again).focus();
    });
  }

  /** Fields for what a record says. Fields that stay keep the keyboard and the caret. */
  fill(record) {
    const turns = 'text' in record ? [{role: 'text', content: record.text}] : record.messages;
    const areas = this.areas();
    if (areas.map(area => area.dataset.role).join() !== turns.map(turn => turn.role).join()) {
      this.fields.replaceChildren(...turns.map(turn => this.field(turn)));
      this.layBelow(turns);
    }
    this.areas().forEach((area, index) => setText(area, turns[index].content));
  }

  areas() {
    return [...this.fields.querySelectorAll('textarea')];
  }

  field(turn) {
    const area = node('textarea', {rows: turn.role === 'system' ? 1 : 2, readOnly: this.row.long, dir: 'auto', spellcheck: true});
    area.dataset.role = turn.role;
    area.placeholder = PLACEHOLDERS[turn.role];
    area.oninput = () => { grow(area); this.typed(); };
    return node('label', {className: `row-turn row-turn-${turn.role}`}, node('span', {textContent: turn.role}), area);
  }

  layBelow(turns) {
    this.below.replaceChildren();
    if (this.row.long) {
      const words = 'This row is too long to be edited here, and shown cut. Its text is kept whole.';
      this.below.append(node('p', {className: 'quiet', textContent: words}));
      return;
    }
    if (turns[0]?.role === 'text') return;
    const hasSystem = turns[0]?.role === 'system';
    this.below.append(button('Add a turn', () => this.rebuild(all => [...all, ...EMPTY_TURN], -2)));
    if (turns.length - hasSystem > 2) this.below.append(button('Remove the last turn', () => this.rebuild(all => all.slice(0, -2), -1)));
    this.below.append(hasSystem
      ? button('Remove the system prompt', () => this.rebuild(all => all.slice(1), 0))
      : button('Add a system prompt', () => this.rebuild(all => [{role: 'system', content: ''}, ...all], 0)));
  }

  /** Other turns; the keyboard goes to one of them. */
  rebuild(change, focus) {
    this.fill({messages: change(this.record().messages)});
    this.typed();
    this.areas().at(focus)?.focus();
    this.save();
  }

  /** What the fields say. A text that was not touched is as it came, line ends and all. */
  record() {
    const turns = this.areas().map(area => ({
      role: area.dataset.role, content: area.value === area.shownAs ? area.cameAs : area.value,
    }));
    return turns[0]?.role === 'text' ? {text: turns[0].content} : {messages: turns};
  }

  typed() {
    this.dirty = true;
    saved('saving…');
    remember(this);
    this.saving.putOff();
  }

  save() {
    this.saving.cancel();
    if (!this.dirty) return;
    inTurn(async () => {
      if (!this.dirty || !this.theirs.hidden) return;
      const record = this.record();
      this.dirty = false;
      const answer = await askUntilHeard({do: 'edit', draft: this.draft, row: this.id, based: this.revision, record});
      if (answer?.row) this.keep(answer, record);
      else this.refused(answer);
    });
  }

  keep(answer, record) {
    this.row = answer.row;
    this.revision = answer.row.revision;
    this.said = JSON.stringify(record);
    this.showHead(answer.row);
    if (!this.dirty) forget(this);
    if (this.draft !== draft) return;
    settle();
    around(answer);
  }

  refused(answer) {
    this.dirty = true;
    if (answer?.stale) this.clash(answer.theirs);
    else if (answer) { saved('not saved', true); notice(answer.problems.join(' ')); }
  }

  /** The row was changed elsewhere: both texts are shown, and one is chosen. */
  clash(theirs) {
    this.dirty = true;
    saved('not saved: changed elsewhere', true);
    this.theirs.hidden = false;
    const choices = theirs ? this.eitherText(theirs) : this.afterAll();
    this.theirs.append(node('div', {className: 'row-editor-buttons'}, ...choices));
    choices[0].focus();
  }

  eitherText(theirs) {
    const text = node('blockquote', {className: 'plain-text', textContent: inWords(theirs.record)});
    this.theirs.replaceChildren(node('p', {textContent: 'This row was changed elsewhere while you wrote. There it says:'}), text);
    const keepMine = () => { this.theirs.hidden = true; this.revision = theirs.revision; this.save(); };
    const takeTheirs = () => { this.drop(); this.take(theirs); settle(); };
    return [button('Keep mine', keepMine), button('Take theirs', takeTheirs)];
  }

  afterAll() {
    this.theirs.replaceChildren(node('p', {textContent: 'This row was deleted elsewhere while you wrote.'}));
    const addMine = () => { const record = this.record(); this.drop(); act({do: 'add', record}, focusRow); };
    const letGo = () => { this.drop(); look(); };
    return [button('Add mine as a new row', addMine), button('Let it go', letGo)];
  }

  drop() {
    this.dirty = false;
    this.theirs.hidden = true;
    forget(this);
  }
}

function setText(area, content) {
  area.cameAs = content;
  const fits = content.replace(/\r\n?/g, '\n');
  if (area.value !== fits) area.value = fits;
  area.shownAs = fits;
  grow(area);
}

const growsItself = CSS.supports('field-sizing', 'content');

function grow(area) {
  if (growsItself) return;
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + 2}px`;
}

const inWords = record => 'text' in record ? record.text : record.messages.map(turn => `${turn.role}: ${turn.content}`).join('\n');
