import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { transform } from 'esbuild';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { root, sourceFiles } from '../support/source-files.js';

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
    expect(sourceFiles.length).toBeGreaterThan(50);
    expect(usingsInLoops('f.ts', 'for (;;) { await using a = b(); }')).toEqual(['f.ts:1']);
    expect(usingsInLoops('f.ts', 'while (b) { using a = b; const c = a; }')).toEqual(['f.ts:1']);
    expect(usingsInLoops('f.ts', 'for (;;) { const a = () => { using a = b(); } }')).toEqual([]);
    const found = sourceFiles.flatMap((file) => usingsInLoops(file, readFileSync(join(root, file), 'utf8')));
    expect(found).toEqual([]);
  });
});

/** `file:line` of each `using` whose function has a loop around it. */
function usingsInLoops(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
  const visit = (node: ts.Node, inLoop: boolean): string[] => {
    const loop = !ts.isFunctionLike(node) && (inLoop || ts.isIterationStatement(node, false));
    // `await using` has this flag too.
    const using = ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.Using) !== 0;
    const own = using && loop ? [`${file}:${lineOf(node)}`] : [];
    const below: string[] = [];
    ts.forEachChild(node, (child) => void below.push(...visit(child, loop)));
    return [...own, ...below];
  };
  return visit(source, false);
}
