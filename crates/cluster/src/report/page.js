"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const fields = { nodes: find("by-node"), state: find("by-state"), codes: find("by-code") };
  const entries = all(".entry");
  const details = all("main details");
  // The picture and the matrix show links a second time.
  const counted = entries.filter((entry) => entry.localName !== "a");

  const fits = (entry) =>
    (fields.nodes.value === "" || entry.dataset.nodes.split(" ").includes(fields.nodes.value)) &&
    (fields.state.value === "" || entry.dataset.state === fields.state.value) &&
    (fields.codes.value === "" || entry.dataset.codes.split(" ").includes(fields.codes.value));

  const isThere = (entry) => !entry.classList.contains("out");

  function show() {
    for (const entry of entries) entry.classList.toggle("out", !fits(entry));
    for (const code of all("article.code")) {
      code.classList.toggle("out", !all(".entry", code).some(isThere));
    }
    for (const section of all("main section")) {
      const own = all(".entry", section);
      section.querySelector(".none").hidden = own.length === 0 || own.some(isThere);
    }
    const number = counted.filter(isThere).length;
    find("shown").textContent = `${number} of ${counted.length} entries are shown`;
  }

  function showAll() {
    for (const field of Object.values(fields)) field.value = "";
    show();
  }

  // Where a link in the page leads to must be there, and open.
  function follow() {
    const target = find(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.closest(".out")) showAll();
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) {
      at.open = true;
    }
    if (target.localName === "summary") target.focus();
    target.scrollIntoView();
  }

  for (const field of Object.values(fields)) field.addEventListener("change", show);
  find("reset").addEventListener("click", showAll);
  find("open").addEventListener("click", () => details.forEach((one) => (one.open = true)));
  find("close").addEventListener("click", () => details.forEach((one) => (one.open = false)));
  addEventListener("hashchange", follow);

  // On paper nothing can be opened. Of very many links only what was opened is printed.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = details.filter((one) => !one.open && !one.closest(".plenty"));
    closed.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => closed.forEach((one) => (one.open = false)));

  find("filter").hidden = false;
  show();
  follow();
})();
