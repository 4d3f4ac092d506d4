// Brings the parts of a page that are marked `data-live` up to date when the server says that time has passed.
// It loads the page again and puts in what differs; a part in which somebody works is left as it is, unless the
// focus can be given back. Without this script the page loads itself again.
"use strict";

const PAUSED = "skim-paused";
let source = null;
let isLoading = false;

const told = new Map(); // part -> what the server said of it last; what people opened or ticked is not in it
for (const part of document.querySelectorAll("[data-live][id]")) told.set(part, part.innerHTML);

function put(before, after) {
  const html = after.innerHTML;
  if (told.get(before) === html) return;
  const focused = before.contains(document.activeElement) ? document.activeElement : null;
  if (focused && !(focused.id && after.querySelector(`#${CSS.escape(focused.id)}`))) return;
  told.set(before, html);
  before.replaceChildren(...after.childNodes);
  if (focused) document.getElementById(focused.id).focus({ preventScroll: true });
}

async function update() {
  if (isLoading) return;
  isLoading = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const before of document.querySelectorAll("[data-live][id]")) {
      const after = page.getElementById(before.id);
      if (after) put(before, after);
    }
    document.title = page.title;
    document.body.dataset.updates = Number(document.body.dataset.updates || 0) + 1;
  } catch {
    // away for a moment: the next event tries again
  } finally {
    isLoading = false;
  }
}

function listen(isWanted) {
  if (source) source.close();
  source = null;
  if (!isWanted) return;
  source = new EventSource(document.body.dataset.live);
  source.addEventListener("changed", update);
}

const button = document.createElement("button");
button.type = "button";
button.className = "pause quiet";

function show() {
  const isPaused = sessionStorage.getItem(PAUSED) === "yes";
  button.textContent = isPaused ? "Go on updating" : "Pause updating";
  listen(!isPaused && !document.hidden);
}

button.addEventListener("click", () => {
  const isPaused = sessionStorage.getItem(PAUSED) === "yes";
  sessionStorage.setItem(PAUSED, isPaused ? "no" : "yes");
  show();
});
document.addEventListener("visibilitychange", show);
addEventListener("pagehide", () => listen(false));
addEventListener("pageshow", show);
document.querySelector("h1").after(button);
