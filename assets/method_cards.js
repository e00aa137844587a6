// The method cards. gr.HTML runs this with `element`, `props`, `watch` and `trigger` given; texts are set as text.

const fieldset = element.querySelector('fieldset');
let picks = 0; // by this page's user
let chosen;

function part(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function draw(card) {
  const label = part('label', 'method-card', '');
  const radio = document.createElement('input');
  radio.type = 'radio';
  radio.name = 'method';
  radio.value = card.name;
  radio.checked = card.name === chosen;
  radio.setAttribute('aria-label', card.title); // the rest of the card describes it
  radio.setAttribute('aria-describedby', `method-${card.name}`);
  const title = part('span', 'method-title', card.title);
  title.prepend(radio);
  const paper = part('a', 'method-paper', 'paper');
  paper.href = card.paper;
  paper.target = '_blank';
  paper.rel = 'noreferrer';
  paper.setAttribute('aria-label', `paper on ${card.title}`);
  const sentence = part('span', 'method-sentence', card.sentence);
  sentence.id = `method-${card.name}`;
  const facts = part('span', 'method-facts', '');
  facts.append(part('span', '', `trains ${card.trains}`), part('span', '', `needs ${card.memory}`));
  if (card.arithmetic) facts.append(part('span', 'method-arithmetic', card.arithmetic));
  label.append(title, sentence, facts, paper);
  return label;
}

function take() {
  const value = props.value;
  if (!value) return;
  const isOld = value.picks != null && value.picks < picks; // asked for before the last pick, which it must not undo
  if (!isOld) chosen = value.chosen;
  else {
    props.value = {...value, chosen, picks};
    setTimeout(() => trigger('change'), 100); // whoever listens may have been told the old one: tell them, and not at the same time
  }
  render(value);
}

function render(value) {
  const focused = document.activeElement?.value;
  const hadFocus = fieldset.contains(document.activeElement);
  fieldset.querySelectorAll('.method-card').forEach(old => old.remove());
  fieldset.append(...value.cards.map(draw));
  if (hadFocus) fieldset.querySelector(`input[value="${focused}"]`)?.focus(); // redrawing must not lose the keyboard
}

fieldset.addEventListener('change', event => {
  picks += 1;
  chosen = event.target.value;
  props.value = {...props.value, chosen, picks};
  trigger('change');
});
watch('value', take);
take();
