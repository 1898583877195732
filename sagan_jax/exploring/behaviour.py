"""What the page does in the browser by itself: clicks as points, the link, the picture, and readouts of sliders."""

import json

# Clicks on the image, or on one with a heat map, as fractions of its sides from the upper left.
ON_CLICK = """
element.addEventListener('click', (event) => {
  const image = event.target.closest('.tile');
  if (!image) return;
  const box = image.getBoundingClientRect();
  trigger('click', {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height});
});
"""
ALWAYS_LIGHT = "() => { document.body.classList.remove('dark'); }"
SHOW_LINK = "(query) => { history.replaceState(null, '', query); }"
DOWNLOAD = """(data, name) => { const link = document.createElement('a'); link.href = data; link.download = name;
link.click(); }"""
# Only pages from this machine or by https may use the clipboard; elsewhere the older way is tried, on a field with the
# link that stays open if that fails as well.
LINK_FIELD = '<input id="link" readonly hidden aria-label="link to this view">'
COPY_LINK = """async () => {
  const field = document.querySelector('#link'), button = document.querySelector('#copy');
  let copied = true;
  try { await navigator.clipboard.writeText(location.href); }
  catch {
    field.hidden = false; field.value = location.href; field.focus(); field.select();
    copied = document.execCommand('copy');
  }
  field.hidden = copied;
  button.textContent = copied ? 'Copied' : 'Copy it from below';
  setTimeout(() => { button.textContent = 'Copy link'; }, 2000);
}"""


def readout(name: str, wording: str) -> str:
    """Writes a slider's value beside its label.

    Args:
      name: id of the slider's element.
      wording: what is said of a number `value`, in JavaScript.
    """
    return f"(value) => {{ document.getElementById({json.dumps(name)}).dataset.readout = {wording}; }}"
