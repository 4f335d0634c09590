// Several files at once with progress for each, over the same form a plain browser posts. A file is
// one request; a repeat carries the same key, so that trying again never stores it twice.
(() => {
  "use strict";

  const PARALLEL = 3;
  const form = document.getElementById("upload");
  const input = document.getElementById("file");
  const queue = document.getElementById("queue");
  const words = document.getElementById("upload-words").dataset;
  const zone = document.querySelector("[data-drop-zone]");
  const maxBytes = Number(form.dataset.maxBytes);
  const items = [];

  function humanSize(bytes) {
    const names = words.units.split(" ");
    const step = bytes ? Math.min(names.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
    const value = bytes / 1024 ** step;
    const digits = { maximumSignificantDigits: value >= 1000 ? 4 : 3 };
    return `${new Intl.NumberFormat(document.documentElement.lang, digits).format(value)}\u00a0${names[step]}`;
  }

  // As artstore/shown.py writes a name: nothing in it hides, and nothing turns it round.
  function shown(name) {
    return name.replace(/[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      (sign) => `[U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
  }

  function show(item, state) {
    item.state = state;
    item.row.dataset.state = state;
    item.row.querySelectorAll("[data-when]").forEach((part) => {
      part.hidden = !part.dataset.when.split(" ").includes(state);
    });
    if (state !== "failed") item.row.querySelector("[data-log-in]").hidden = true;
    tally();
  }

  function tally() {
    const done = items.filter((item) => item.state === "done").length;
    const text = items.length ? words.tally.replace("{done}", done).replace("{all}", items.length) : "";
    document.getElementById("tally").textContent = text;
    const busy = items.some((item) => ["sending", "storing"].includes(item.state));
    window.onbeforeunload = busy ? (event) => event.preventDefault() : null;
  }

  function progress(item, fraction) {
    const percent = Math.floor(fraction * 100);
    item.row.querySelector("progress").value = percent;
    item.row.querySelector("[data-percent]").textContent = `${percent}\u00a0%`;
  }

  function fail(item, message) {
    item.row.querySelector("[data-failure]").textContent = message;
    item.row.querySelector("[data-log-in]").hidden = message !== words.signedOut;
    show(item, "failed");
  }

  function add(file) {
    const row = document.getElementById("queue-row").content.firstElementChild.cloneNode(true);
    const item = { file, row, state: "waiting", key: crypto.randomUUID?.() ?? String(Math.random()).slice(2) };
    row.querySelector("[data-name]").textContent = shown(file.name);
    row.querySelector("[data-size]").textContent = humanSize(file.size);
    row.querySelector("progress").setAttribute("aria-label", shown(file.name));
    row.querySelector("[data-cancel]").addEventListener("click", () => cancel(item));
    row.querySelector("[data-retry]").addEventListener("click", () => { show(item, "waiting"); start(); });
    items.push(item);
    queue.append(row);
    progress(item, 0);
    show(item, "waiting");
    if (file.size > maxBytes) fail(item, words.tooLarge);
  }

  function cancel(item) {
    item.request?.abort();
    show(item, "cancelled");
  }

  // Fields first, the file last: then the server can pass the bytes straight on.
  function body(item) {
    const data = new FormData();
    for (const [name, value] of new FormData(form)) {
      if (name !== "file") data.append(name, value);
    }
    // A form's own file name arrives with its quotes rewritten; this one as it is.
    data.append("filename", item.file.name);
    data.append("idempotency_key", item.key);
    data.append("file", item.file);
    return data;
  }

  // What a page says in place of the answer expected: logged out, or an error page.
  function readPage(request) {
    if (request.responseURL.includes("/login")) return words.signedOut;
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    return page.querySelector("#failure .alert-description")?.textContent.trim() ?? words.unreachable;
  }

  function finish(item, request) {
    let answer;
    try { answer = JSON.parse(request.responseText); } catch { return fail(item, readPage(request)); }
    if (answer.file_id) {
      item.row.querySelector("[data-open]").href = answer.url;
      progress(item, 1);
      show(item, "done");
      return;
    }
    const details = Object.entries(answer.error.details ?? {}).map(([name, texts]) => `${name}: ${texts.join(" ")}`);
    fail(item, [answer.error.message, ...details].join(" "));
  }

  function send(item) {
    const request = new XMLHttpRequest();
    item.request = request;
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(item, event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => { if (item.state === "sending") show(item, "storing"); });
    request.addEventListener("load", () => finish(item, request));
    request.addEventListener("error", () => fail(item, words.unreachable));
    request.addEventListener("loadend", pump);
    show(item, "sending");
    request.send(body(item));
  }

  // Who signed in again in another tab has another token since; the texts typed here stay.
  async function start() {
    try {
      const answer = await fetch(form.action);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("#upload [name=csrfmiddlewaretoken]");
      if (fresh) form.elements.csrfmiddlewaretoken.value = fresh.value;
    } catch {
      // Sending says in its own words that nobody is there.
    }
    pump();
  }

  function pump() {
    const sending = items.filter((item) => ["sending", "storing"].includes(item.state)).length;
    items.filter((item) => item.state === "waiting").slice(0, PARALLEL - sending).forEach(send);
  }

  function take(files) {
    [...files].forEach(add);
    input.value = "";
    input.required = items.length === 0;
  }

  input.multiple = true;
  input.addEventListener("change", () => take(input.files));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });

  // A file dropped beside the zone must not make the browser leave the page for it.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => event.preventDefault());
  }
  zone.addEventListener("dragenter", () => zone.classList.add("is-over"));
  zone.addEventListener("dragover", () => zone.classList.add("is-over"));
  zone.addEventListener("dragleave", () => zone.classList.remove("is-over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("is-over");
    take(event.dataTransfer.files);
  });

  const days = form.querySelector("[name=ttl_days]");
  const keep = () => { days.disabled = form.elements.retention_policy.value === "permanent"; };
  form.querySelectorAll("[name=retention_policy]").forEach((radio) => radio.addEventListener("change", keep));
  keep();
})();
