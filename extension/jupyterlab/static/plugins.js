// The plugins of the extension.

import { SQL_CLASS, sqlInCells } from "./cells.js";

export async function plugins(shared) {
  const names = ["@codemirror/state", "@codemirror/view", "@codemirror/language", "@lezer/highlight"];
  const [state, view, language, highlight] = await Promise.all(names.map(shared));
  const { IEditorExtensionRegistry } = await shared("@jupyterlab/codemirror");
  const { extension, toggleComments } = sqlInCells({ state, view, language, highlight });

  function activate({ commands }, registry) {
    registry.addExtension({
      name: "duckvstore:sql",
      // Cells alone, not files; and of cells not those of text.
      factory: ({ inline, model }) =>
        inline && model?.mimeType !== "text/x-ipythongfm"
          ? { instance: () => extension, reconfigure: () => null }
          : null,
    });
    const command = "duckvstore:toggle-comment";
    commands.addCommand(command, {
      label: "Toggle Comments in a %%vstore Cell",
      execute() {
        const editor = view.EditorView.findFromDOM(document.activeElement);
        if (editor) toggleComments(editor);
      },
    });
    commands.addKeyBinding({ command, keys: ["Accel /"], selector: `.cm-content.${SQL_CLASS}` });
  }

  return [
    {
      id: "duckvstore:sql",
      description: "Colours, comments and indentation of SQL in %%vstore cells and %vstore lines",
      autoStart: true,
      requires: [IEditorExtensionRegistry],
      activate,
    },
  ];
}
