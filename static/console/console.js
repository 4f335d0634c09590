// What every page gains from JavaScript: local times, copying, the search key, dialogs, selection
// of rows, forms sent once, notices for requests that never arrived. Nothing here is needed for a page to work.
(() => {
  "use strict";

  const language = document.documentElement.lang;
  const localTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

  function each(root, selector, action) {
    if (root instanceof Element && root.matches(selector)) action(root);
    root.querySelectorAll(selector).forEach(action);
  }

  function showLocalTime(element) {
    const moment = new Date(element.dateTime);
    if (!Number.isNaN(moment.valueOf())) element.textContent = localTime.format(moment);
  }

  // --- Relative times: "in 3 min", counted down without asking the server -------------------------

  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function showRelativeTime(element) {
    const seconds = (new Date(element.dateTime) - Date.now()) / 1000;
    if (Number.isNaN(seconds)) return;
    const [unit, length] = STEPS.find(([, size]) => Math.abs(seconds) >= size) || STEPS[3];
    element.textContent = relative.format(Math.round(seconds / length), unit);
  }

  function prepare(root) {
    each(root, "time[data-local]", showLocalTime);
    each(root, "time[data-relative]", showRelativeTime);
    each(root, "[data-needs-script]", (element) => element.removeAttribute("hidden"));
  }

  setInterval(() => each(document, "time[data-relative]", showRelativeTime), 15000);

  // --- Copy ---------------------------------------------------------------------------------------

  const announce = (text) => {
    const region = document.getElementById("announcements");
    if (region) region.textContent = text;
  };

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const text = source.value ?? source.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No clipboard without TLS: leave the text selected, so that the keyboard can copy it.
      getSelection().selectAllChildren(source);
      return;
    }
    button.classList.add("is-copied");
    announce(button.dataset.copied);
    setTimeout(() => button.classList.remove("is-copied"), 1500);
  }

  // --- Dialogs: a link with data-dialog opens its page's form over this page ------------------------

  const dialog = document.getElementById("dialog");

  document.addEventListener("htmx:afterSwap", (event) => {
    if (dialog && event.detail.target.id === "dialog-body" && !dialog.open) dialog.showModal();
  });

  dialog?.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-dialog-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });

  // --- Rows: one box selects all, the bar of actions shows while any is selected --------------------

  function countSelected(table) {
    const boxes = [...table.querySelectorAll("input[data-row]")];
    const chosen = boxes.filter((box) => box.checked).length;
    const all = table.querySelector("input[data-all-rows]");
    if (all) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    each(table, "[data-selected-count]", (element) => { element.textContent = String(chosen); });
    each(table, "[data-needs-selection]", (element) => { element.disabled = chosen === 0; });
    each(table, "[data-shows-selection]", (element) => { element.hidden = chosen === 0; });
  }

  document.addEventListener("change", (event) => {
    const table = event.target.closest("[data-selectable]");
    if (!table) return;
    if (event.target.matches("[data-all-rows]")) {
      each(table, "input[data-row]", (box) => { box.checked = event.target.checked; });
    }
    countSelected(table);
  });

  // --- Pictures that are none: words in their place --------------------------------------------------

  function describeBroken(picture) {
    const words = document.createElement("p");
    words.className = "text-secondary mb-0";
    words.textContent = picture.dataset.broken;
    picture.replaceWith(words);
  }

  // `error` does not bubble, so it is caught on its way down.
  document.addEventListener("error", (event) => {
    if (event.target instanceof HTMLImageElement && event.target.dataset.broken) describeBroken(event.target);
  }, true);
  each(document, "img[data-broken]", (picture) => {
    if (picture.complete && picture.naturalWidth === 0 && picture.currentSrc) describeBroken(picture);
  });

  // --- Clicks and keys ------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const closer = event.target.closest("[data-dismiss-notice]");
    if (closer) closer.closest(".alert").remove();
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable], dialog");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("main [data-search]") ?? document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  // --- A form that changes something is sent once, however often it is clicked ------------------------

  const SENT_SECONDS = 5;
  const sent = new WeakSet();

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (sent.has(form)) {
      event.preventDefault();
      return;
    }
    sent.add(form);
    // An answer that never came, or a way back to this page, leaves a form that works.
    setTimeout(() => sent.delete(form), SENT_SECONDS * 1000);
  });

  // --- The way back and "load again" ask for the page that was sent a form; they send it no second time ---

  // What stands on these pages is nowhere else: the browser may offer to send it again.
  const ONLY_HERE = "#failure, #unsent, [name^=carried-]";
  if (!document.querySelector(ONLY_HERE)) history.replaceState(history.state, "", location.href);

  // --- htmx -----------------------------------------------------------------------------------------

  document.addEventListener("htmx:load", (event) => {
    prepare(event.detail.elt);
    each(event.detail.elt, "[data-selectable]", countSelected);
  });

  // The address of a search names only what was asked.
  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.detail.elt.matches("form[data-tidy]")) return;
    const data = event.detail.formData;
    [...data].filter(([, value]) => value === "").forEach(([name]) => data.delete(name));
  });

  document.addEventListener("htmx:sendError", () => {
    const template = document.getElementById("unreachable");
    const notices = document.getElementById("notices");
    if (template && notices) notices.replaceChildren(template.content.cloneNode(true));
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.querySelector("#notices [data-unreachable]")?.remove();
  });

  prepare(document);
  each(document, "[data-selectable]", countSelected);
  // The way back ticks the boxes again that were ticked, after this script has run.
  window.addEventListener("pageshow", () => each(document, "[data-selectable]", countSelected));
})();
