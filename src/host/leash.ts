import { type ChildProcess, spawn } from 'node:child_process';

/**
 * Kills our children when this process dies in a way it cannot handle (SIGKILL, power loss of the terminal).
 *
 * A small shell in a session of its own reads process group ids from a pipe that only we hold open. When the pipe
 * closes, every group still listed is killed. It is started with the first child and ends with us.
 */
const SCRIPT = `trap '' HUP INT TERM
groups=
while read -r verb id; do
  case $verb in
    add) groups="$groups $id" ;;
    drop) rest=; for g in $groups; do [ "$g" = "$id" ] || rest="$rest $g"; done; groups=$rest ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
:`;

let leash: ChildProcess | undefined;

function shell(): ChildProcess {
  if (leash === undefined) {
    leash = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    leash.stdin?.on('error', () => {}); // the shell was killed: nothing left to hold the leash, work goes on
    leash.unref();
    (leash.stdin as unknown as { unref(): void }).unref();
  }
  return leash;
}

/** From now on the process group `pgid` dies with this process. */
export function addToLeash(pgid: number): void {
  shell().stdin?.write(`add ${pgid}\n`);
}

/** The group has ended, or is to outlive this process. */
export function dropFromLeash(pgid: number): void {
  leash?.stdin?.write(`drop ${pgid}\n`);
}
