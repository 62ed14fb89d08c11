// What JupyterLab loads first: a container as its own builder makes them, of modules that the browser loads as they are.
// The packages that the extension shares with JupyterLab come from JupyterLab, at the version that it uses itself.
(() => {
  const here = document.currentScript.src;
  let offered = {};

  const isLower = (one, other) => one.localeCompare(other, undefined, { numeric: true }) < 0;

  /** Return a package that JupyterLab shares: what is loaded already comes first, then the highest version. */
  async function shared(name) {
    const versions = offered[name];
    if (!versions) throw new Error(`duckvstore: this JupyterLab does not share ${name}`);
    const rank = (version) => Number(Boolean(versions[version].loaded));
    const best = Object.keys(versions).reduce((one, other) =>
      rank(one) < rank(other) || (rank(one) === rank(other) && isLower(one, other)) ? other : one,
    );
    return (await versions[best].get())();
  }

  (window._JUPYTERLAB ??= {}).duckvstore = {
    init(scope) {
      offered = scope;
    },
    async get() {
      const { plugins } = await import(new URL("plugins.js", here).href);
      const found = await plugins(shared);
      return () => ({ __esModule: true, default: found });
    },
  };
})();
