import { type CheckContext, CheckFailure, expectEqual } from '../../../lab/check.js';
import type { LineCheck, ModuleSetup } from '../../../lab/module-checks.js';
import { runLogged } from '../../../lab/run-logged.js';
import { type GuestModule, withModule } from '../guest-module.js';

const LOADED = 'Hello, world!';
const UNLOADED = 'Unloading module!';
const RELOADS = 10;

/** The module `hello`: its two log lines. */
export function helloChecks(setup: ModuleSetup): LineCheck[] {
  const common = { line: 'hello', machine: 'hello', deadline: 15_000 };
  const within = (use: (context: CheckContext, module: GuestModule) => Promise<void>) => {
    return (context: CheckContext) => withModule(context, setup, 'hello', (module) => use(context, module));
  };
  return [
    { ...common, id: 'hello-load', title: `insmod logs "${LOADED}" once`, run: within(load) },
    { ...common, id: 'hello-unload', title: `rmmod logs "${UNLOADED}" once`, run: within(unload) },
    {
      ...common,
      id: 'hello-again',
      title: `${RELOADS} times loaded and unloaded, each line ${RELOADS} times, in turn`,
      needs: ['hello-load', 'hello-unload'],
      run: within(again),
    },
  ];
}

async function load({ prove }: CheckContext, module: GuestModule): Promise<void> {
  const { log } = await module.insert();
  expectEqual(`the lines that insmod logged with "${LOADED}"`, linesWith(log, LOADED), 1, log.join('; '));
  expectNone(log, UNLOADED, 'insmod');
  if (!(await module.loaded())) throw new CheckFailure('after insmod the module is not there');
  prove(`insmod exited with 0, and the log got: ${log.find((line) => line.includes(LOADED))}`);
}

async function unload({ prove }: CheckContext, module: GuestModule): Promise<void> {
  await module.insert();
  const { log } = await module.remove();
  expectEqual(`the lines that rmmod logged with "${UNLOADED}"`, linesWith(log, UNLOADED), 1, log.join('; '));
  expectNone(log, LOADED, 'rmmod');
  if (await module.loaded()) throw new CheckFailure('after rmmod the module is still there');
  prove(`rmmod exited with 0, and the log got: ${log.find((line) => line.includes(UNLOADED))}`);
}

async function again(context: CheckContext, module: GuestModule): Promise<void> {
  const round = `${module.insmod} && ${module.rmmod} || exit 1`;
  const script = `i=0; while [ $i -lt ${RELOADS} ]; do ${round}; i=$((i+1)); done`;
  const { exitCode, stderr, log } = await runLogged(context, script);
  if (exitCode !== 0) throw new CheckFailure('a round failed', [stderr.trimEnd(), ...log.slice(-10)]);
  const said = log.flatMap((line) => [LOADED, UNLOADED].filter((text) => line.includes(text)));
  const expected = Array.from({ length: RELOADS }, () => [LOADED, UNLOADED]).flat();
  expectEqual('the log of all rounds', said.join(' '), expected.join(' '));
  context.prove(`${said.length} lines in the right order`);
}

function linesWith(log: readonly string[], text: string): number {
  return log.filter((line) => line.includes(text)).length;
}

function expectNone(log: readonly string[], text: string, command: string): void {
  if (linesWith(log, text) > 0) throw new CheckFailure(`${command} logged "${text}"`, log);
}
