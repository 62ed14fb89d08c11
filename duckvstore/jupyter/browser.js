// The version browser's page. What is shown comes from the model's traits; rows come as messages, page by page.
// Names and values only ever become text nodes, so a symbol called <img onerror=…> is just a name.

const KERNEL_SILENT_MS = 15000;
const SETTLE_MS = 180;

/** Make an element: attributes by name, `on…` as listeners, null and false left out; children as nodes or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : name === "title" ? harmless(String(value)) : String(value));
  }
  element.append(...children.filter(isShown).map(harmless));
  return element;
}

/** Characters that turn the direction of text, or cannot be seen, as escapes: a name could pass for another. */
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
const harmless = (child) => (typeof child === "string" ? child.replace(UNPRINTABLE, escaped) : child);

/** What a condition left out is false, null, undefined or an empty text. */
const isShown = (child) => child !== null && child !== undefined && child !== false && child !== "";

/** Put `children` in the place of all that `element` holds. */
const fill = (element, ...children) => element.replaceChildren(...children.filter(isShown).map(harmless));

const count = (number) => Number(number).toLocaleString("en-US");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let [number, unit] = [bytes, 0];
  while (number >= 999.5 && unit < units.length - 1) [number, unit] = [number / 1000, unit + 1];
  return `${unit === 0 || number >= 99.5 ? number.toFixed(0) : number.toFixed(1)} ${units[unit]}`;
}

function age(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  const steps = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [86400 * 60, 86400, "d"], [86400 * 730, 86400 * 30.44, "months"]];
  if (seconds < 5) return "just now";
  for (const [below, unit, name] of steps) if (seconds < below) return `${Math.floor(seconds / unit)} ${name} ago`;
  return `${Math.floor(seconds / (86400 * 365.25))} years ago`;
}

/** The time as the reader's clock says it, and in UTC: for tooltips. */
const moment = (iso) => `${new Date(iso).toLocaleString()}\n${iso.replace("T", " ").replace("Z", " UTC")}`;

async function copyText(text, root) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that were not served securely have no clipboard; the old way still works there.
    const area = make("textarea", { class: "vsb-offscreen", readonly: true });
    area.value = text;
    root.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** A list of options in which arrow keys move the choice; `choose` is called with the key of an option. */
class Choices {
  constructor(label, choose) {
    this.choose = choose;
    this.keys = [];
    this.chosen = null;
    this.timer = 0;
    this.prefix = `vsb-${Math.random().toString(36).slice(2)}`;
    this.element = make("div", {
      class: "vsb-list", role: "listbox", tabindex: 0, "aria-label": label, onkeydown: (event) => this.onKey(event),
    });
  }

  /** Show `items`: {key, node, disabled}; `rest` are nodes after them that cannot be chosen. */
  show(items, chosen, ...rest) {
    const scrolled = this.element.scrollTop;
    const moved = this.chosen !== chosen;
    this.keys = items.filter((item) => !item.disabled).map((item) => item.key);
    this.nodes = new Map();
    const nodes = items.map((item, position) => {
      const option = make("div", {
        class: "vsb-option", role: "option", id: `${this.prefix}-${position}`,
        "aria-selected": item.key === chosen ? "true" : "false", "aria-disabled": item.disabled ? "true" : null,
        onclick: item.disabled ? null : () => this.pick(item.key, 0),
      }, ...item.nodes);
      this.nodes.set(item.key, option);
      return option;
    });
    fill(this.element, ...nodes, ...rest);
    this.element.scrollTop = scrolled;
    this.mark(chosen, moved);
  }

  mark(key, reveal) {
    this.chosen = key;
    for (const [other, node] of this.nodes ?? []) node.setAttribute("aria-selected", other === key ? "true" : "false");
    const node = this.nodes?.get(key);
    if (node) this.element.setAttribute("aria-activedescendant", node.id);
    else this.element.removeAttribute("aria-activedescendant");
    if (node && reveal) reveal_within(this.element, node);
  }

  pick(key, delay) {
    this.mark(key, true);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.choose(key), delay);
  }

  onKey(event) {
    const last = this.keys.length - 1;
    const at = this.keys.indexOf(this.chosen);
    const target = { ArrowDown: Math.min(last, at + 1), ArrowUp: Math.max(0, at - 1), Home: 0, End: last }[event.key];
    if (target === undefined || last < 0) return;
    event.preventDefault();
    // The kernel is asked when the keys rest, not for every symbol on the way.
    if (target !== at) this.pick(this.keys[target], SETTLE_MS);
  }
}

/** Scroll `list` itself, never the page, until `node` is in view. */
function reveal_within(list, node) {
  const [outer, inner] = [list.getBoundingClientRect(), node.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop -= outer.top - inner.top;
  else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}

const isCommand = (event) => event.ctrlKey || event.metaKey;

class Page {
  constructor(model, host) {
    this.model = model;
    this.waiting = new Set();
    this.page = null;
    this.listeners = [];
    this.build(host);
    const on = (event, action) => {
      model.on(event, action);
      this.listeners.push([event, action]);
    };
    on("change:symbols", () => { this.done("symbols"); this.showSymbols(); });
    on("change:snapshots", () => { this.showSnapshots(); this.showSymbols(); });
    on("change:scope", () => { this.showSnapshots(); this.showSymbols(); });
    on("change:search", () => this.showSearch());
    on("change:symbol", () => { this.showSymbols(); this.showVersions(); this.showRows(); });
    on("change:versions", () => { this.done("versions"); this.showVersions(); });
    on("change:version", () => this.showVersions());
    on("change:shown", () => { this.done("versions"); this.page = null; this.askRows(); this.showRows(); });
    on("change:first_row", () => { this.askRows(); this.showRows(); });
    on("change:sql", () => this.showSql());
    on("change:error", () => this.showError());
    on("msg:custom", (message) => this.onMessage(message));
    // JupyterLab looks at this attribute before it takes a key for a command: d d would delete the cell, while
    // Ctrl+S must still save. Its own listener is on the document, so this one has to be on the window.
    this.onAnyKey = (event) => this.root.toggleAttribute("data-lm-suppress-shortcuts", !isCommand(event));
    window.addEventListener("keydown", this.onAnyKey, true);
    for (const part of ["Search", "Snapshots", "Symbols", "Versions", "Sql", "Error"]) this[`show${part}`]();
    this.askRows();
    this.showRows();
  }

  close() {
    for (const [event, action] of this.listeners) this.model.off(event, action);
    window.removeEventListener("keydown", this.onAnyKey, true);
    clearTimeout(this.silence);
    clearTimeout(this.typing);
  }

  // -- the frame ---------------------------------------------------------------------------------------------

  build(host) {
    const { model } = this;
    this.search = make("input", {
      class: "vsb-search", type: "search", placeholder: "Search symbols", "aria-label": "Search symbols",
      spellcheck: "false", autocomplete: "off",
      oninput: () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.set({ search: this.search.value }, "symbols"), SETTLE_MS); },
    });
    this.symbols = new Choices("Symbols", (symbol) => this.set({ symbol }, symbol === model.get("symbol") ? null : "versions"));
    this.snapshots = new Choices("Snapshots", (scope) => this.set({ scope: scope === model.get("scope") ? "" : scope }, "symbols"));
    this.versions = new Choices("Versions", (version) => this.set({ version }, version === model.get("version") ? null : "versions"));
    this.chip = make("div", { class: "vsb-chip-line" });
    this.snapshotsHead = make("div", { class: "vsb-head" });
    this.versionsHead = make("div", { class: "vsb-head" });
    this.rowsHead = make("div", { class: "vsb-head vsb-rows-head" });
    this.grid = make("div", { class: "vsb-grid", tabindex: 0, role: "region", "aria-label": "Rows", onkeydown: (event) => this.onGridKey(event) });
    this.pager = make("div", { class: "vsb-pager" });
    this.note = make("span", { class: "vsb-note", role: "status" });
    this.banner = make("div", { class: "vsb-error", role: "alert" });
    this.sql = make("code", { class: "vsb-sql" });
    this.copySql = make("button", { class: "vsb-button vsb-primary", type: "button", onclick: () => this.copy("sql", this.copySql) }, "Copy SQL");
    this.copyPython = make("button", { class: "vsb-button", type: "button", onclick: () => this.copy("python", this.copyPython) }, "Copy Python");
    this.root = make("div", {
      class: "vsb-root", onkeydown: (event) => this.onKey(event),
    },
      make("div", { class: "vsb-progress" }),
      make("header", { class: "vsb-title" },
        make("strong", {}, model.get("library")), make("span", { class: "vsb-url", title: model.get("url") }, model.get("url")), this.note,
        make("button", { class: "vsb-button", type: "button", title: "Look again what the library has", onclick: () => this.refresh() }, "Refresh")),
      this.banner,
      make("div", { class: "vsb-panes" },
        make("section", { class: "vsb-pane vsb-symbols" }, make("div", { class: "vsb-search-line" }, this.search), this.chip, this.symbols.element,
          make("div", { class: "vsb-snapshots" }, this.snapshotsHead, this.snapshots.element)),
        make("section", { class: "vsb-pane vsb-versions" }, this.versionsHead, this.versions.element),
        make("section", { class: "vsb-pane vsb-rows" }, this.rowsHead, this.grid, this.pager)),
      make("footer", { class: "vsb-foot" }, this.sql, this.copyPython, this.copySql));
    host.classList.add("vsb-host");
    host.append(this.root);
  }

  set(values, waitFor) {
    if (waitFor) this.wait(waitFor);
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes();
  }

  // -- waiting for the kernel --------------------------------------------------------------------------------

  wait(what) {
    this.waiting.add(what);
    this.showWaiting();
  }

  done(what) {
    this.waiting.delete(what);
    this.showWaiting();
  }

  showWaiting() {
    const busy = this.waiting.size > 0;
    this.root.classList.toggle("vsb-busy", busy);
    this.note.textContent = "";
    clearTimeout(this.silence);
    if (busy) this.silence = setTimeout(() => { this.note.textContent = "The kernel does not answer yet: is it busy, or gone?"; }, KERNEL_SILENT_MS);
  }

  refresh() {
    this.wait("refresh");
    this.model.send({ kind: "refresh" });
  }

  onMessage(message) {
    if (message.kind === "refreshed") {
      this.done("refresh");
      this.askRows();
    } else if (message.kind === "rows" || message.kind === "failure") {
      const shown = this.model.get("shown");
      if (message.symbol !== shown.symbol || message.version !== shown.version) return;
      if (message.first_row !== this.model.get("first_row")) return;
      this.done("rows");
      this.page = message;
      this.showRows();
    }
  }

  // -- symbols and snapshots ---------------------------------------------------------------------------------

  showSearch() {
    if (this.root.getRootNode().activeElement !== this.search) this.search.value = this.model.get("search");
  }

  showSymbols() {
    const { rows = [], match_count = 0, total_count = 0 } = this.model.get("symbols");
    const scope = this.model.get("scope");
    fill(this.chip, ...(scope ? [
      make("span", { class: "vsb-tag", title: `Only what the snapshot ${scope} holds` }, `in snapshot ${scope}`),
      make("button", { class: "vsb-link", type: "button", onclick: () => this.set({ scope: "" }, "symbols") }, "show all"),
    ] : []));
    const items = rows.map((row) => ({
      key: row.name,
      nodes: [
        make("div", { class: "vsb-line" }, make("span", { class: "vsb-name", title: row.name }, row.name), make("span", { class: "vsb-badge" }, row.deleted ? "deleted" : `v${row.version}`)),
        make("div", { class: "vsb-line vsb-dim" },
          make("span", { title: `${plural(row.row_count, "row")}, ${plural(row.column_count, "column")}, ${size(row.stored_bytes)} stored` },
            row.deleted ? "" : `${count(row.row_count)} × ${count(row.column_count)} · ${size(row.stored_bytes)}`),
          make("span", { title: moment(row.created_at) }, age(row.created_at))),
      ],
    }));
    let rest = "";
    if (!total_count) rest = scope ? "This snapshot holds no symbol." : "This library is empty. lib.write(\"name\", df) makes its first symbol.";
    else if (!match_count) rest = `No symbol has “${this.model.get("search")}” in its name.`;
    else if (match_count > rows.length) rest = `${count(rows.length)} of ${count(match_count)} symbols shown: type to search`;
    this.symbols.show(items, this.model.get("symbol"), rest && make("div", { class: "vsb-empty" }, rest));
  }

  showSnapshots() {
    const rows = this.model.get("snapshots");
    fill(this.snapshotsHead, make("span", {}, "Snapshots"), make("span", { class: "vsb-dim" }, count(rows.length)));
    const items = rows.map((row) => ({
      key: row.name,
      nodes: [
        make("div", { class: "vsb-line" }, make("span", { class: "vsb-name", title: row.message || row.name }, row.name), make("span", { class: "vsb-dim", title: moment(row.created_at) }, age(row.created_at))),
      ],
    }));
    this.snapshots.show(items, this.model.get("scope"), !rows.length && make("div", { class: "vsb-empty" }, "None yet."));
  }

  // -- versions ----------------------------------------------------------------------------------------------

  showVersions() {
    const symbol = this.model.get("symbol");
    const { rows = [], total_count = 0 } = this.model.get("versions");
    fill(this.versionsHead,
      make("span", { class: "vsb-name", title: symbol ?? "" }, symbol ?? "Versions"), symbol !== null && make("span", { class: "vsb-dim" }, plural(total_count, "version")));
    if (symbol === null) {
      this.versions.show([], null, make("div", { class: "vsb-empty" }, "Choose a symbol to see its versions."));
      return;
    }
    const items = rows.map((row) => ({ key: row.version, disabled: row.deleted, nodes: this.versionNodes(row) }));
    const wanted = this.model.get("versions_wanted");
    const older = total_count > wanted && make("button", {
      class: "vsb-link vsb-older", type: "button", onclick: () => this.set({ versions_wanted: wanted + 100 }, "versions"),
    }, `Show older ones (${count(total_count - rows.length)})`);
    this.versions.show(items, this.model.get("version"), older);
  }

  versionNodes(row) {
    const news = row.new_bytes ? `+${size(row.new_bytes)}` : "no new data";
    return [
      make("div", { class: "vsb-line" },
        make("span", { class: "vsb-name" }, `v${row.version}`, make("span", { class: `vsb-operation vsb-${row.deleted ? "delete" : "write"}` }, row.operation.replaceAll("_", " "))),
        make("span", { class: "vsb-dim", title: moment(row.created_at) }, age(row.created_at))),
      (row.message || row.author) && make("div", { class: "vsb-line" },
        make("span", { class: "vsb-message", title: row.message }, row.message ?? ""),
        row.author && make("span", { class: "vsb-dim vsb-author", title: row.author }, row.author)),
      make("div", { class: "vsb-dim" }, row.deleted ? "no rows from here on" : `${plural(row.row_count, "row")} · ${news}`),
      row.snapshots.length > 0 && make("div", { class: "vsb-tags" }, ...row.snapshots.map((name) => make("span", { class: "vsb-tag", title: `In snapshot ${name}` }, name))),
    ];
  }

  // -- rows --------------------------------------------------------------------------------------------------

  askRows() {
    const { symbol, version } = this.model.get("shown");
    if (symbol === undefined) return;
    const first_row = this.model.get("first_row");
    if (this.page && this.page.kind === "rows" && this.page.symbol === symbol && this.page.version === version && this.page.first_row === first_row) return;
    this.wait("rows");
    this.model.send({ kind: "rows", symbol, version, first_row });
  }

  showRows() {
    const shown = this.model.get("shown");
    if (shown.symbol === undefined || shown.symbol !== this.model.get("symbol")) {
      fill(this.rowsHead, make("span", {}, "Rows"));
      fill(this.grid, make("div", { class: "vsb-empty" }, this.model.get("symbol") === null ? "Rows of the chosen version appear here." : ""));
      fill(this.pager);
      return;
    }
    fill(this.rowsHead,
      make("span", { class: "vsb-name", title: shown.symbol }, shown.symbol), make("span", { class: "vsb-badge" }, `v${shown.version}`),
      make("span", { class: "vsb-dim" }, `${plural(shown.row_count, "row")} × ${plural(shown.column_count, "column")} · ${size(shown.stored_bytes)} in ${plural(shown.segment_count, "segment")}`));
    this.showPager(shown);
    if (this.page?.kind === "failure") fill(this.grid, make("div", { class: "vsb-error" }, this.page.message));
    else if (this.page) this.showTable(shown);
    else fill(this.grid, make("div", { class: "vsb-empty" }, "Reading rows…"));
  }

  showTable(shown) {
    const columns = shown.columns;
    const kinds = columns.map((column) => [column.is_right && "vsb-right", column.is_index && "vsb-index"].filter(Boolean).join(" ") || null);
    const note = (column) => column.type + (column.null_count ? ` · ${count(column.null_count)} null` : "");
    const head = columns.map((column, position) => make("th", { class: kinds[position], scope: "col", title: column.name }, column.name, make("small", {}, note(column))));
    const cell = (value, position) => make("td", { class: kinds[position], title: value !== null && value.length > 40 ? value : null }, value === null ? make("span", { class: "vsb-null" }, "null") : value);
    const body = this.page.rows.map((row, offset) => make("tr", {}, make("th", { scope: "row" }, count(this.page.first_row + offset)), ...row.map(cell)));
    const left_out = shown.column_count - columns.length;
    fill(this.grid,
      make("table", {}, make("thead", {}, make("tr", {}, make("th", { title: "Row numbers, as row_range= counts them" }, "#"), ...head)), make("tbody", {}, ...body)),
      !this.page.rows.length ? make("div", { class: "vsb-empty" }, "This version has no rows.") : "",
      left_out > 0 ? make("div", { class: "vsb-empty" }, `${plural(left_out, "more column")} not shown.`) : "");
    if (this.scrollTo !== undefined) this.grid.scrollTop = this.scrollTo === "end" ? this.grid.scrollHeight : 0;
    this.scrollTo = undefined;
  }

  showPager(shown) {
    const [first, rows, total] = [this.model.get("first_row"), shown.page_rows, shown.row_count];
    const last = Math.max(0, Math.floor((total - 1) / rows) * rows);
    const button = (text, label, target, isOff) => make("button", {
      class: "vsb-button", type: "button", "aria-label": label, title: label, disabled: isOff, onclick: () => this.turn(target),
    }, text);
    const focused = this.pager.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    fill(this.pager,
      button("«", "First page", 0, first <= 0), button("‹", "Previous page", first - rows, first <= 0),
      make("span", { class: "vsb-where" }, total ? `rows ${count(first)} to ${count(Math.min(total, first + rows) - 1)} of ${count(total)}` : "no rows"),
      button("›", "Next page", first + rows, first >= last), button("»", "Last page", last, first >= last));
    if (focused) this.pager.querySelector(`[aria-label="${focused}"]`)?.focus();
  }

  turn(target) {
    const shown = this.model.get("shown");
    const last = Math.max(0, Math.floor((shown.row_count - 1) / shown.page_rows) * shown.page_rows);
    const first_row = Math.max(0, Math.min(last, target));
    if (first_row === this.model.get("first_row")) return;
    this.scrollTo ??= "start";
    this.set({ first_row });
  }

  onGridKey(event) {
    const { page_rows } = this.model.get("shown");
    if (page_rows === undefined) return;
    const first = this.model.get("first_row");
    const atEnd = this.grid.scrollTop + this.grid.clientHeight >= this.grid.scrollHeight - 2;
    if (event.key === "PageDown" && atEnd) this.turn(first + page_rows);
    else if (event.key === "PageUp" && this.grid.scrollTop <= 0) {
      this.scrollTo = "end";
      this.turn(first - page_rows);
    } else return;
    event.preventDefault();
  }

  // -- SQL, errors, keys -------------------------------------------------------------------------------------

  showSql() {
    const sql = this.model.get("sql");
    this.sql.textContent = sql || "Choose a version to get its SQL.";
    this.sql.classList.toggle("vsb-dim", !sql);
    this.copySql.disabled = this.copyPython.disabled = !sql;
  }

  async copy(trait, button) {
    const copied = await copyText(this.model.get(trait), this.root);
    button.textContent = copied ? "Copied" : "The page may not copy";
    setTimeout(() => { button.textContent = trait === "sql" ? "Copy SQL" : "Copy Python"; }, 1500);
  }

  showError() {
    const error = this.model.get("error");
    if (error) {
      this.waiting.clear();
      this.showWaiting();
    }
    this.banner.textContent = error;
    this.banner.hidden = !error;
  }

  onKey(event) {
    if (event.key === "/" && event.target !== this.search) {
      event.preventDefault();
      this.search.focus();
    } else if (event.key === "Escape" && event.target === this.search && this.search.value) {
      this.search.value = "";
      this.set({ search: "" }, "symbols");
    } else if (event.key === "ArrowDown" && event.target === this.search) {
      event.preventDefault();
      this.symbols.element.focus();
    }
    if (!isCommand(event)) event.stopPropagation();
  }
}

function render({ model, el }) {
  const page = new Page(model, el);
  return () => page.close();
}

export default { render };
