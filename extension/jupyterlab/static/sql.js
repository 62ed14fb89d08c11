// DuckDB's SQL with time travel, and the magic's own line above it, as tokens for CodeMirror's StreamLanguage.

const set = (text) => new Set(text.split(/\s+/).filter(Boolean));

// DuckDB's reserved words, and those of the others that begin a statement or a clause. A word that is mostly the name of
// a column (data, year, version) is none.
export const KEYWORDS = set(`
  all alter analyse analyze and anti any array as asc asof asymmetric attach begin between both by call case cast check
  checkpoint collate column commit constraint copy create cross cube database deallocate default deferrable delete desc
  describe detach distinct do drop else end escape except exclude execute exists explain export extract fetch filter
  following for foreign from full glob group grouping groups having if ignore ilike import in index initially inner insert
  install intersect interval into is isnull join lambda lateral leading left like limit load macro match matched
  materialized merge natural not nothing notnull nulls offset on only or order outer over overlaps partition pivot
  pivot_longer pivot_wider placing positional pragma preceding prepare primary qualify range recursive references rename
  replace reset restore returning right rollback rollup rows sample schema select semi sequence set sets show similar some
  source summarize symmetric table tablesample target temp temporary then to trailing transaction truncate try_cast
  unbounded union unique unpivot update use using vacuum values variadic view when where window with within without`);

export const TYPES = set(`
  bigint bignum bit bitstring blob bool boolean bpchar bytea char date datetime dec decimal double enum float float4 float8
  geometry hugeint int int1 int2 int4 int8 int16 int32 int64 int128 integer json long map numeric real short signed
  smallint string struct text time time_ns timestamp timestamp_ms timestamp_ns timestamp_s timestamp_us timestamptz timetz
  tinyint ubigint uhugeint uint8 uint16 uint32 uint64 uint128 uinteger usmallint utinyint uuid varbinary varchar variant
  varint`);

const ATOMS = set("true false null");
const TRAVEL = set("version timestamp snapshot system_version system_time");
const BEFORE_TRAVEL = set("at for to create drop restore");
const VALUED = set("-o -t -p -l -n --output --type --param --library --limit --at");

const SPACE = /^[\s\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]+/;
const WORD = /^[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/;
const NUMBER = /^(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)/;
const VALUE = /^(?:"[^"]*"?|'[^']*'?|[^\s'"]+)+/;

/** A cell that the magic runs: after what may be blank lines, its first line names it. */
export const isSqlCell = (firstLine) => /^\s*%%vstore(?![\w])/.test(firstLine);

/** Where the SQL, or an option, begins in a line with the magic in a Python cell; -1 in any other line. */
export function startInLine(line) {
  const found = /^\s*(?:[^\W\d]\w*\s*=\s*)?%vstore(?=\s)/.exec(line);
  return found ? found[0].length : -1;
}

/** What the reader of tokens remembers: `open` is the quote or comment it is in, `columns` those of open brackets. */
export const startState = (isCell = true) => ({ part: isCell ? "name" : "options", open: null, columns: [], word: "" });
export const copyState = (state) => ({ ...state, columns: [...state.columns] });

/** Read one token; return its kind, a key of `kinds` in cells.js, or null. */
export function token(stream, state) {
  if (stream.sol() && state.line) state.part = "sql";
  if (state.open) return inside(stream, state);
  if (stream.match(SPACE)) return null;
  if (state.part === "name") return magic(stream, state);
  if (state.part === "value") return value(stream, state);
  if (state.part === "options") {
    const found = option(stream, state);
    if (found) return found;
    state.part = "sql";
  }
  return sql(stream, state);
}

/** Between the magic's line and the SQL below there may be a line break alone. */
export function blankLine(state) {
  if (state.line) state.part = "sql";
}

function magic(stream, state) {
  state.part = "options";
  state.line = true;
  stream.match(/^%%vstore/) || stream.next();
  return "magic";
}

function option(stream, state) {
  const name = stream.match(/^(?:--[A-Za-z][A-Za-z-]*|-[A-Za-z])(?![\w])/);
  if (name) {
    if (VALUED.has(name[0])) state.part = "value";
    return "option";
  }
  if (stream.match(/^(?:[A-Za-z][\w+.-]*:\/\/|\.{0,2}\/(?!\*)|~)\S*/)) return "string"; // a store to connect to
  if (stream.match(/^[^\W\d]\w*(?=\s*<<)/)) return "name";
  return stream.match("<<") ? "operator" : null;
}

function value(stream, state) {
  state.part = "options";
  if (stream.match("=")) {
    state.part = "value";
    return "operator";
  }
  stream.match(VALUE) || stream.next();
  return "string";
}

function sql(stream, state) {
  if (stream.match("--")) {
    stream.skipToEnd();
    return "comment";
  }
  if (stream.match("/*")) return opened(stream, state, { kind: "comment", depth: 1 });
  if (stream.match(/^[eE](?=')/)) {
    stream.next();
    return opened(stream, state, { kind: "string", end: "'", escaped: true });
  }
  if (stream.match("'")) return opened(stream, state, { kind: "string", end: "'" });
  if (stream.match('"')) return opened(stream, state, { kind: "quoted", end: '"' });
  const dollars = stream.match(/^\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/);
  if (dollars) return opened(stream, state, { kind: "string", end: dollars[0] });
  if (stream.match(/^\$\w+/) || stream.match(/^\?\d*/)) return after(state, "", "parameter");
  if (stream.match(NUMBER)) return after(state, "", "number");
  const word = stream.match(WORD);
  if (word) return named(stream, state, word[0].toLowerCase());
  return punctuation(stream, state);
}

function opened(stream, state, open) {
  state.open = open;
  state.word = "";
  return inside(stream, state);
}

function inside(stream, state) {
  const { kind, end, depth, escaped } = state.open;
  if (kind === "comment") {
    for (let nested = depth; ; ) {
      const edge = stream.match(/^.*?(\/\*|\*\/)/);
      if (!edge) {
        stream.skipToEnd();
        state.open = { kind, depth: nested };
        return kind;
      }
      nested += edge[1] === "/*" ? 1 : -1;
      if (!nested) break;
    }
  } else {
    for (;;) {
      if (stream.eol()) return kind;
      if (escaped && stream.match(/^\\./)) continue;
      if (!stream.match(end)) stream.next();
      else if (end.length > 1 || !stream.match(end)) break;
    }
  }
  state.open = null;
  return kind;
}

function after(state, word, kind) {
  state.word = word;
  return kind;
}

function named(stream, state, word) {
  const before = state.word;
  state.word = word;
  if (before === ".") return "name";
  if (word === "at") return stream.match(/^\s*(?:$|\(?\s*(?:version|timestamp|snapshot)\b)/i, false) ? "keyword" : "name";
  if (TRAVEL.has(word) && BEFORE_TRAVEL.has(before)) return "keyword";
  if (ATOMS.has(word)) return "atom";
  if (stream.match(/^\(/, false) && !/^(?:and|or|not|in|exists|values|as|on|from|using|over|by|any|all|some)$/.test(word)) {
    return TYPES.has(word) ? "builtin" : KEYWORDS.has(word) ? "keyword" : "call";
  }
  return KEYWORDS.has(word) ? "keyword" : TYPES.has(word) ? "builtin" : "name";
}

function punctuation(stream, state) {
  const character = stream.next();
  if ("([{".includes(character)) state.columns.push(stream.indentation());
  if (")]}".includes(character)) state.columns.pop();
  // In AT (VERSION => 3) the word still follows AT.
  if (character !== "(" || state.word !== "at") state.word = character === "." ? "." : "";
  if ("([{}])".includes(character)) return "bracket";
  return ".,;".includes(character) ? "punctuation" : "operator";
}

/** Return the indentation of a line that begins with `textAfter`: one step within brackets, else that of the line above. */
export function indent(state, textAfter, context) {
  if (state.open || !state.columns.length) return null;
  const column = state.columns[state.columns.length - 1];
  return /^\s*[)\]}]/.test(textAfter) ? column : column + context.unit;
}
