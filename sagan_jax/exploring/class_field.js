// A search field for a class. `props.names` are the names in the order of their labels, `props.value` is the label.
const field = element.querySelector('input'), list = element.querySelector('ul');
const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').trim().toLowerCase();
const searched = props.names.map(plain);
let found = [], active = 0;

// 0 is best; -1 is no match.
const rank = (name, number, wanted) => {
  if (!wanted || name === wanted || number === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  if (name.includes(` ${wanted}`)) return 2;
  if (name.includes(wanted)) return 3;
  return number.startsWith(wanted) ? 4 : -1;
};
const matches = (wanted) => searched
  .map((name, label) => [rank(name, String(label), wanted), label])
  .filter(([order]) => order >= 0)
  .sort(([one, first], [other, second]) => one - other || first - second)
  .map(([, label]) => label);

const show = () => { field.value = props.names[props.value] ?? ''; };
const close = () => {
  list.hidden = true;
  field.setAttribute('aria-expanded', 'false');
  field.removeAttribute('aria-activedescendant');
};
const highlight = (index) => {
  active = index;
  [...list.children].forEach((option, at) => option.setAttribute('aria-selected', String(at === active)));
  const option = list.children[active];
  if (!option || !found.length) return;
  field.setAttribute('aria-activedescendant', option.id);
  option.scrollIntoView({block: 'nearest'});
};
const optionOf = (label) => {
  const option = document.createElement('li'), number = document.createElement('small');
  option.id = `${field.id}-${label}`;
  option.setAttribute('role', 'option');
  option.dataset.label = label;
  option.append(props.names[label]);
  number.textContent = label;
  if (props.names[label] !== String(label)) option.append(number);
  return option;
};
const open = (text) => {
  found = matches(plain(text));
  list.replaceChildren(...found.map(optionOf));
  if (!found.length) {
    const nothing = document.createElement('li');
    nothing.className = 'nothing';
    nothing.textContent = `no class has “${text}” in its name or as its number`;
    list.replaceChildren(nothing);
  }
  list.hidden = false;
  field.setAttribute('aria-expanded', 'true');
  highlight(text ? 0 : Math.max(0, found.indexOf(props.value)));
};
const pick = (label) => {
  props.value = label;
  show();
  close();
  trigger('input');
};

field.addEventListener('focus', () => { field.select(); open(''); });
field.addEventListener('click', () => { if (list.hidden) open(''); });
field.addEventListener('input', () => open(field.value));
field.addEventListener('blur', () => { close(); show(); });
field.addEventListener('keydown', (event) => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (step && list.hidden) open('');
  else if (step && found.length) highlight((active + step + found.length) % found.length);
  else if (event.key === 'Enter' && !list.hidden && found.length) { pick(found[active]); field.select(); }
  else if (event.key === 'Escape') { close(); show(); field.select(); }
  else return;
  event.preventDefault();
});
list.addEventListener('mousedown', (event) => event.preventDefault());  // the field keeps the focus until a choice
list.addEventListener('click', (event) => {
  const option = event.target.closest('[data-label]');
  if (option) { pick(Number(option.dataset.label)); field.blur(); }
});
watch('value', show);
show();
