// Opens a sheet of the training in its own size over the page; Escape or a click closes it.
element.addEventListener('click', (event) => {
  const sheet = event.target.closest('.sheet');
  if (!sheet) return;
  const dialog = document.createElement('dialog'), image = sheet.querySelector('img').cloneNode();
  dialog.className = 'large';
  dialog.setAttribute('aria-label', image.alt);
  dialog.append(image);
  dialog.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => dialog.remove());
  document.querySelector('.gradio-container').append(dialog);
  dialog.showModal();
});
