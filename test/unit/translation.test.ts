import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { runInThisContext } from 'node:vm';
import { transform } from 'esbuild';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

/**
 * esbuild keeps the error of a block with `using` in a variable of the whole function. In a loop that catches it, every
 * later round ends with the error of an earlier one, though nothing failed. So the body of such a loop is a function.
 */
describe('using in a loop', () => {
  test('still needs care: esbuild translates it wrongly', async () => {
    const source = `
      let rounds = 0;
      for (;;) {
        try {
          using resource = { [Symbol.dispose]() {} };
          rounds += 1;
          if (rounds === 1) throw new Error('the first round');
          break;
        } catch {
          if (rounds === 3) break;
        }
      }
      return rounds;`;
    const wrapped = `(() => {${source}})()`;
    const { code } = await transform(wrapped, { loader: 'ts', target: 'node20' });
    // 2 when esbuild does it right; then this whole file can go.
    expect(runInThisContext(code)).toBe(3);
  });

  test('is nowhere in what esbuild translates', () => {
    const files = ['src', 'tasks'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
        .map((entry) => join(entry.parentPath, entry.name)),
    );
    expect(files.length).toBeGreaterThan(50);
    expect(usingsInLoops('f.ts', 'for (;;) { await using a = b(); }')).toEqual(['f.ts:1']);
    expect(usingsInLoops('f.ts', 'while (b) { using a = b; const c = a; }')).toEqual(['f.ts:1']);
    expect(usingsInLoops('f.ts', 'for (;;) { const a = () => { using a = b(); } }')).toEqual([]);
    expect(files.flatMap((file) => usingsInLoops(relative(root, file), readFileSync(file, 'utf8')))).toEqual(
      [],
    );
  });
});

/** `file:line` of each `using` whose function has a loop around it. */
function usingsInLoops(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node, inLoop: boolean): string[] => {
    const loop = !ts.isFunctionLike(node) && (inLoop || ts.isIterationStatement(node, false));
    // `await using` has this flag too.
    const using = ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.Using) !== 0;
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    const own = using && loop ? [`${file}:${line + 1}`] : [];
    const below: string[] = [];
    ts.forEachChild(node, (child) => void below.push(...visit(child, loop)));
    return [...own, ...below];
  };
  return visit(source, false);
}
