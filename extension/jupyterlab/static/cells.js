// SQL in the editors of cells: a language for those that %%vstore runs, colours alone for %vstore lines in Python.

import { blankLine, copyState, indent, isSqlCell, startInLine, startState, token } from "./sql.js";

const COMMENTS = { commentTokens: { line: "--", block: { open: "/*", close: "*/" } } };
const NO_COMMENTS = { commentTokens: {} };
export const SQL_CLASS = "vstore-sql-cell";
const COMMENTED = /^(\s*)(-- ?)/;
const BRACKETS = { closeBrackets: { brackets: ["(", "[", "{", "'", '"'] }, indentOnInput: /^\s*[)\]}]$/ };

/** Return the extension for editors, and what toggles comments in one, given CodeMirror as JupyterLab has it. */
export function sqlInCells({ state, view, language, highlight }) {
  const { tags } = highlight;
  // The kinds of sql.js, as JupyterLab's themes colour them.
  const kinds = {
    magic: tags.meta,
    option: tags.attributeName,
    keyword: tags.keyword,
    builtin: tags.standard(tags.variableName),
    atom: tags.atom,
    name: tags.variableName,
    call: tags.function(tags.variableName),
    quoted: tags.special(tags.string),
    string: tags.string,
    number: tags.number,
    parameter: tags.special(tags.variableName),
    comment: tags.comment,
    operator: tags.operator,
    punctuation: tags.punctuation,
    bracket: tags.bracket,
  };
  const sql = language.StreamLanguage.define({
    name: "vstore",
    startState: () => startState(),
    copyState,
    token,
    blankLine,
    indent,
    tokenTable: kinds,
  });

  /** Return the number of the line that names the magic, or 0 for a cell of Python. */
  function magicLine(doc) {
    let number = 1;
    while (number < doc.lines && !doc.line(number).text.trim()) number += 1;
    return isSqlCell(doc.line(number).text) ? number : 0;
  }

  // Follows the text, so that a cell changes its language as it is typed. There are no languages but this one before it.
  const cellLanguage = language.language.computeN(["doc"], ({ doc }) => (magicLine(doc) ? [sql] : []));
  const cellData = state.EditorState.languageData.of(({ doc }, position) => {
    const magic = magicLine(doc);
    if (!magic) return [];
    return [doc.lineAt(position).number > magic ? COMMENTS : NO_COMMENTS, BRACKETS];
  });

  /** Comment the lines of the selection, or no more if all are; not the magic's, on which CodeMirror's own would stop. */
  function toggleComments(editor) {
    const { doc, selection } = editor.state;
    const magic = magicLine(doc);
    if (!magic) return;
    const lines = new Map();
    for (const { from, to } of selection.ranges) {
      for (let number = doc.lineAt(from).number; number <= doc.lineAt(to).number; number += 1) {
        const line = doc.line(number);
        if (number > magic && line.text.trim()) lines.set(number, line);
      }
    }
    const found = [...lines.values()];
    const column = Math.min(...found.map(({ text }) => text.search(/\S/)));
    const changes = found.every(({ text }) => COMMENTED.test(text))
      ? found.map(({ from, text }) => {
          const [, space, mark] = COMMENTED.exec(text);
          return { from: from + space.length, to: from + space.length + mark.length };
        })
      : found.map(({ from }) => ({ from: from + column, insert: "-- " }));
    if (changes.length) editor.dispatch({ changes, userEvent: "input" });
  }

  // By which the key of JupyterLab's own command means ours in these cells.
  const mark = view.EditorView.contentAttributes.compute(["doc"], ({ doc }) =>
    magicLine(doc) ? { class: SQL_CLASS } : {},
  );
  const extension = [
    state.Prec.highest([cellLanguage, cellData, mark, lineColours({ state, view, language, kinds, magicLine })]),
    view.EditorView.baseTheme({
      // What has no colour in SQL must not keep Python's.
      ".vstore-sql": { fontWeight: "normal", fontStyle: "normal", color: "var(--jp-content-font-color1)" },
    }),
  ];
  return { extension, toggleComments };
}

/** Return the plugin that colours the SQL of %vstore lines. */
function lineColours({ state, view, language, kinds, magicLine }) {
  function marks(editor) {
    const found = new state.RangeSetBuilder();
    if (magicLine(editor.state.doc)) return found.finish();
    for (const { from, to } of editor.visibleRanges) {
      for (let position = from; position <= to; ) {
        const line = editor.state.doc.lineAt(position);
        const start = startInLine(line.text);
        if (start >= 0) mark(found, editor.state, line.from + start, line.text.slice(start));
        position = line.to + 1;
      }
    }
    return found.finish();
  }

  function mark(found, editorState, from, text) {
    const stream = new language.StringStream(text, editorState.tabSize, language.getIndentUnit(editorState));
    const reading = startState(false);
    while (!stream.eol()) {
      stream.start = stream.pos;
      const kind = token(stream, reading);
      if (!kind) continue;
      const className = language.highlightingFor(editorState, [kinds[kind]]) || "vstore-sql";
      found.add(from + stream.start, from + stream.pos, view.Decoration.mark({ class: className }));
    }
  }

  return view.ViewPlugin.define((editor) => ({
    decorations: marks(editor),
    update(change) {
      if (change.docChanged || change.viewportChanged) this.decorations = marks(change.view);
    },
  }), { decorations: (plugin) => plugin.decorations });
}
