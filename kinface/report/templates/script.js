// Tables are sorted by a click on a heading, and long ones filtered by a field; without scripts they are as written.
for (const table of document.querySelectorAll("table:not(.live)")) {
  const body = table.tBodies[0], rows = [...body.rows], headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = (row.cells[column].firstElementChild?.tagName == "B" ? row.cells[column].firstElementChild : row.cells[column].firstChild ?? row.cells[column]).textContent.trim();
    const number = parseFloat(text.replace(/[,+]/g, "").replace("−", "-").replace("∞", "Infinity"));
    return isNaN(number) ? text : number;
  };
  headings.forEach((heading, column) => {
    heading.setAttribute("role", "button");
    heading.tabIndex = 0;
    const sort = () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what is no number comes last
        return (typeof x === "number" ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
      };
      body.append(...[...rows].sort(order));
    };
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault(); // a space would scroll the page
      sort();
    });
  });
  if (rows.length <= 8) continue;
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "show rows with …", ariaLabel: "show rows with" });
  field.addEventListener("input", () => {
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(field.value.toLowerCase());
  });
  table.before(field);
}
// A link opens the section that it leads to; print shows all of them.
const open = section => { if (section?.tagName === "DETAILS") section.open = true; };
addEventListener("hashchange", () => open(document.querySelector(location.hash)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(open));
