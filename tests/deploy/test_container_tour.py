#!/usr/bin/python3
"""README.md's tour in a container, block by block as a reader pastes it. In the engine's place stands a script that runs the programs with
what the command line gives the container: environment, name, command."""

import os
import re
import signal
import sys
import tempfile
import unittest

from prometheus import TOP, read

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD  # noqa: E402
from engines import free_port  # noqa: E402
from test_readme import Shell  # noqa: E402

# run: the daemon, with the environment that -e names and nothing else of ROOST's; exec: a program of the image with the same.
DOCKER = r'''#!/bin/bash
set -eu
state=%(folder)s
within() { exec env -i PATH="%(build)s:$PATH" bash -c '. "$1"; shift; exec "$@"' - "$state/env" "$@"; }
verb=$1; shift
case $verb in
run)
    : >"$state/env"
    while [ $# -gt 1 ]; do
        case $1 in
        -e) case $2 in *=*) v=$2;; *) v=$2=${!2};; esac; echo "export $v" >>"$state/env"; shift 2;;
        -p) echo "$2" >>"$state/ports"; shift 2;;
        --name|--ulimit|--cap-drop) shift 2;;
        -d|--read-only) shift;;
        *) echo "docker: $1 is not known" >&2; exit 125;;
        esac
    done
    [ "$1" = roost ]
    . "$state/env"
    [ "$ROOST_ADMIN_LISTEN" = 0.0.0.0:%(admin)s ]
    echo "export ROOST_LISTEN=127.0.0.1:%(client)s ROOST_ADMIN_LISTEN=127.0.0.1:%(admin)s" >>"$state/env"
    within roostd >"$state/log" 2>&1 &
    echo $! >"$state/pid"
    tail --pid=$! -n +1 -f "$state/log" | grep -q -m1 'msg="ready"';;
exec) [ "$1" = roost ]; shift; within "$@";;
stop) kill -TERM $(cat "$state/pid"); tail --pid=$(cat "$state/pid") -f /dev/null; grep -q 'msg="stopped"' "$state/log"; rm "$state/pid";;
rm) [ ! -e "$state/pid" ];;
*) echo "docker: $verb is not known" >&2; exit 125;;
esac
'''


def tour():
    section = re.search(r'^## In a container\n(.*?)^## ', read('README.md'), re.M | re.S).group(1)
    return re.findall(r'^```(\w+)\n(.*?)^```$', section, re.M | re.S)


class ContainerTour(unittest.TestCase):
    def end(self, folder):
        """Of a daemon that the tour has not stopped."""
        try:
            with open(os.path.join(folder, 'pid')) as f:
                os.kill(int(f.read()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass

    def test_block_by_block(self):
        print('not run: docker build, docker run of README.md: they take a container engine', flush=True)
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-container-'))
        ports = {'8000': str(free_port()), '8001': str(free_port())}
        with open(os.path.join(folder, 'docker'), 'w') as f:
            f.write(DOCKER % {'folder': folder, 'build': os.path.abspath(BUILD), 'client': ports['8000'], 'admin': ports['8001']})
        os.chmod(f.name, 0o755)
        shell = Shell(folder)
        self.addCleanup(shell.close)
        self.addCleanup(self.end, folder)
        shell.paste('PATH=%s:$PATH' % folder)
        after = {'tail lobby': r'subscribed to lobby$', 'api/publish': r'^\{"result":\{.*\}\}', 'grep roost_deliveries_total': r'^roost_deliveries_total 1$'}
        seen = set()
        for language, block in tour():
            if language != 'sh':
                shell.wait(re.escape(block.strip()))
                continue
            if block.startswith('docker build'):
                seen.add('build')
                continue
            shown, status = shell.paste(re.sub(r'(?<=:)(8000|8001)\b', lambda m: ports[m.group(1)], block))
            self.assertEqual(status, 0, shown)
            for key in [k for k in after if k in block]:
                shell.wait(after[key])
                seen.add(key)
        self.assertEqual(seen, {'build', *after})
        with open(os.path.join(folder, 'ports')) as f:
            self.assertEqual(f.read().split(), ['8000:' + ports['8000'], '127.0.0.1:%s:%s' % (ports['8001'], ports['8001'])])


if __name__ == '__main__':
    unittest.main()
