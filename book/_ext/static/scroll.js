/* What is wider than its box can be scrolled with the arrow keys, too. */
(() => {
  "use strict";
  const BOXES = ".equation > .math, .picture, div.highlight pre, "
    + ".bd-article .pst-scrollable-table-container";
  const names = {".math": "formula", ".picture": "figure", "pre": "code"};
  const kind = box =>
    names[Object.keys(names).find(name => box.matches(name))] ?? "table";
  const mark = box => {
    const wide = box.scrollWidth > box.clientWidth + 1;
    if (wide === box.hasAttribute("tabindex")) return;
    if (!wide) {
      for (const name of ["tabindex", "role", "aria-label"])
        box.removeAttribute(name);
      return;
    }
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `Wide ${kind(box)}; scrolls`);
  };
  const all = () => document.querySelectorAll(BOXES).forEach(mark);
  addEventListener("resize", all);
  addEventListener("load", all);
  all();
})();
