/* Previews of what links lead to, and the notation one key away. Without
   this script each is a plain link. */
(() => {
  "use strict";
  const home = document.currentScript.src;
  const KINDS = "div.equation, figure, div.literal-block-wrapper, "
    + "div.exercise, div.proof, div.citation, dl.glossary > dt";
  const DROPPED = ".headerlink, .check, .backrefs, .control, .choices, "
    + "script, style, button, input, select, output";

  /* --- previews ---------------------------------------------------- */
  const card = document.createElement("div");
  card.id = "preview";
  card.className = "preview";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);

  const stored = document.getElementById("previews");
  const elsewhere = new Map([...(stored?.content.children ?? [])]
    .map(one => [one.dataset.of, one]));

  const bare = copy => {
    copy.querySelectorAll(DROPPED).forEach(part => part.remove());
    copy.querySelectorAll("a").forEach(a => a.replaceWith(...a.childNodes));
    [copy, ...copy.querySelectorAll("[id]")]
      .forEach(part => part.removeAttribute("id"));
    return copy;
  };

  const onThisPage = name => {
    const target = document.getElementById(name);
    if (!target?.matches(KINDS)) return null;
    if (target.tagName !== "DT") return bare(target.cloneNode(true));
    const list = document.createElement("dl");
    let part = target;
    while (part.nextElementSibling?.tagName === "DT")
      part = part.nextElementSibling;
    list.append(target.cloneNode(true), part.nextElementSibling.cloneNode(true));
    return bare(list);
  };

  const contentOf = link => {
    const address = link.getAttribute("href");
    if (address.startsWith("#"))
      return onThisPage(decodeURIComponent(address.slice(1)));
    return elsewhere.get(address)?.cloneNode(true) ?? null;
  };

  let shown = null, timer = 0;
  const hide = () => {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    card.hidden = true;
    card.replaceChildren();
  };

  const place = (link, x) => {
    const lines = [...link.getClientRects()];
    const line = lines.find(r => x >= r.left && x <= r.right) ?? lines[0];
    const room = document.documentElement.clientWidth;
    const left = Math.min(line.left, room - card.offsetWidth - 8);
    const below = innerHeight - line.bottom;
    const above = below < card.offsetHeight + 8 && line.top > below;
    const top = above ? line.top - card.offsetHeight - 4 : line.bottom + 4;
    card.style.left = `${Math.max(8, left) + scrollX}px`;
    card.style.top = `${Math.max(4, top) + scrollY}px`;
  };

  const show = (link, content, x) => {
    hide();
    card.append(content);
    card.hidden = false;
    shown = link;
    /* The browser's own tooltip would lie over the card. */
    link.removeAttribute("title");
    link.setAttribute("aria-describedby", card.id);
    place(link, x);
    if (card.scrollHeight > card.clientHeight) card.tabIndex = 0;
    else card.removeAttribute("tabindex");
  };

  const soon = (act, wait) => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };

  const watch = link => {
    const open = x => {
      const content = contentOf(link);
      if (content) show(link, content, x);
    };
    link.addEventListener("pointerenter", event => {
      if (event.pointerType !== "mouse") return;
      if (link === shown) clearTimeout(timer);
      else soon(() => open(event.clientX), 180);
    });
    link.addEventListener("pointerleave", () => soon(hide, 250));
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) open(NaN);
    });
    link.addEventListener("blur", hide);
  };
  document.querySelectorAll('article a.internal[href*="#"]').forEach(watch);
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", () => soon(hide, 250));
  document.addEventListener("keydown", event => {
    if (event.key !== "Escape") return;
    clearTimeout(timer);
    if (shown) hide();
  });

  /* --- the notation ------------------------------------------------ */
  const stateOfKey = {
    get on() {
      try { return localStorage.getItem("notation-key") !== "off"; }
      catch { return true; }
    },
    set on(value) {
      try { localStorage.setItem("notation-key", value ? "on" : "off"); }
      catch { /* not kept */ }
    },
  };

  const dialog = document.createElement("dialog");
  dialog.className = "notation";
  dialog.setAttribute("aria-labelledby", "notation-heading");
  dialog.innerHTML = `
    <form method="dialog" class="top">
      <p id="notation-heading" role="heading" aria-level="2">Notation</p>
      <label><input type="checkbox"> the key n opens this</label>
      <button>Close</button>
    </form>
    <div class="tables"></div>`;
  const tables = dialog.querySelector(".tables");
  const choice = dialog.querySelector("input");
  document.body.append(dialog);

  const reveal = () => {
    hide();
    dialog.showModal();
    dialog.querySelector("button").focus();
    for (const box of tables.querySelectorAll("div"))
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  };
  let asked = false;
  const openNotation = () => {
    if (tables.firstChild) return reveal();
    if (asked) return;
    asked = true;
    /* A script, not a fetch: pages read from disk may not fetch. */
    const script = document.createElement("script");
    script.src = new URL("notation.js", home);
    script.onerror = () => { location.href = key.dataset.page; };
    document.head.append(script);
  };
  document.addEventListener("notation", event => {
    tables.innerHTML = event.detail;
    reveal();
  });

  const link = document.querySelector(".notation-key");
  const key = document.createElement("button");
  const name = () => {
    key.textContent = stateOfKey.on ? "Notation (n)" : "Notation";
    if (stateOfKey.on) key.setAttribute("aria-keyshortcuts", "n");
    else key.removeAttribute("aria-keyshortcuts");
  };
  if (link) {
    key.type = "button";
    key.className = link.className;
    key.dataset.page = link.href;
    key.setAttribute("aria-haspopup", "dialog");
    name();
    key.addEventListener("click", openNotation);
    link.replaceWith(key);
  }
  choice.checked = stateOfKey.on;
  choice.addEventListener("change", () => {
    stateOfKey.on = choice.checked;
    name();
  });
  dialog.addEventListener("click", event => {
    if (event.target === dialog) dialog.close();
  });
  const typing = place => place.closest?.(
    "input:not([type=range], [type=checkbox]), select, textarea, "
    + "[contenteditable]");
  document.addEventListener("keydown", event => {
    if (event.key !== "n" || event.ctrlKey || event.metaKey || event.altKey)
      return;
    if (!link || !stateOfKey.on || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    event.preventDefault();
    openNotation();
  });

  /* --- the page that a mistake is on ------------------------------- */
  const report = document.querySelector(".mistake-report pre");
  const page = new URLSearchParams(location.search).get("page") ?? "";
  if (report && /^[\w/-]+$/.test(page)) {
    report.textContent = report.textContent
      .replace(/^Page:.*/m, `Page: ${page}`);
    for (const a of document.querySelectorAll('article a[href$="/issues"]')) {
      const letter = new URLSearchParams(
        {title: `Mistake on ${page}`, body: report.textContent});
      if (new URL(a.href).hostname === "github.com")
        a.href += `/new?${letter}`;
    }
  }
})();
