"use strict";
const value = cell => cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
for (const button of document.querySelectorAll(".sort")) {
  button.addEventListener("click", () => {
    const header = button.parentElement, body = header.closest("table").tBodies[0];
    const sign = header.ariaSort === "ascending" ? -1 : 1;
    for (const other of header.parentElement.cells) other.ariaSort = "none";
    header.ariaSort = sign === 1 ? "ascending" : "descending";
    const key = row => value(row.cells[header.cellIndex]);
    body.append(...[...body.rows].sort((a, b) => sign * compare(key(a), key(b))));
  });
}
const dialog = document.querySelector("dialog"), enlarged = dialog.querySelector("img");
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const { src, alt } = button.querySelector("img");
    Object.assign(enlarged, { src, alt });
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
