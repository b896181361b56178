// Compiles all that the kernel imports, once and for all: else each start of it compiles everything
// anew. Only a Python of that very version can, and Pyodide is one.
//
//     $ node compile.mjs FOLDER      with Pyodide, and the wheels
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2]);
const { loadPyodide } = await import(join(folder, "pyodide.mjs"));
const pyodide = await loadPyodide({ indexURL: `${folder}/` });
pyodide.runPython(readFileSync(new URL("compiled.py", import.meta.url), "utf8"));
const compiled = pyodide.globals.get("compiled");
for (const name of readdirSync(folder)) {
  if (name.endsWith(".whl") || name === "python_stdlib.zip") {
    pyodide.FS.writeFile("/archive", readFileSync(join(folder, name)));
    compiled(name);
    writeFileSync(join(folder, name), pyodide.FS.readFile("/archive"));
  }
}
