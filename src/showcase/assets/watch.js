// Reloads the watched part of a page each second; once it is over, the whole page, for its buttons.
const part = document.querySelector("[data-watch]");
const said = document.querySelector("#said");
let shown = "";

async function watch() {
  try {
    const answer = await fetch(part.dataset.watch, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const text = await answer.text();
      if (text !== shown) show(text);
      if (part.querySelector("[data-over]")) return window.location.reload();
    }
  } catch (error) {
    console.warn("The site does not answer; asking again.", error);
  }
  window.setTimeout(watch, 1000);
}

function show(text) {
  part.innerHTML = shown = text;
  // Screen readers hear of the phase when it changes, not of the whole table each second.
  const words = part.querySelector("[data-said]").textContent.replace(/\s+/g, " ").trim();
  if (words !== said.textContent) said.textContent = words;
}

if (part) window.setTimeout(watch, 1000);
