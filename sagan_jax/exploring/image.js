// Sends clicks on a picture as fractions of its sides from the upper left; on the large image also keys: arrows move a
// cross by one cell of the finest layer, Enter sets a point there. What is drawn again keeps focus and cross.
let x = 0.5, y = 0.5;
const moveTo = (newX, newY) => {
  [x, y] = [newX, newY];
  element.style.setProperty('--x', `${100 * x}%`);
  element.style.setProperty('--y', `${100 * y}%`);
};
element.addEventListener('click', (event) => {
  const tile = event.target.closest('.tile');
  if (!tile) return;
  const box = tile.getBoundingClientRect();
  moveTo((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  trigger('click', {x, y});
});
element.addEventListener('keydown', (event) => {
  const tile = event.target.closest('[data-cells]');
  if (!tile) return;
  const cells = Number(tile.dataset.cells);
  const moved = (fraction, step) => (Math.min(cells - 1, Math.max(0, Math.floor(fraction * cells) + step)) + 0.5) / cells;
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (step) moveTo(moved(x, step[0]), moved(y, step[1]));
  else if (event.key === 'Enter' || event.key === ' ') trigger('click', {x, y});
  else return;
  event.preventDefault();
});
