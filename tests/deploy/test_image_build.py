#!/usr/bin/python3
"""The whole Dockerfile, by buildah, on a Debian that debootstrap has made: packages are fetched, the programs built, and the image that
comes of it has what deploy/image.sh says, and works."""

import contextlib
import json
import os
import re
import tempfile
import unittest

from test_image import TOP, lay_out, run
from test_package import BASE

DEBIAN = 'docker.io/library/debian:bookworm-slim'


def files(root):
    return {os.path.join(f, n)[len(root):] for f, _, names in os.walk(root) for n in names}


@unittest.skipUnless(os.getuid() == 0, 'needs root: a Debian of its own is made with debootstrap')
class Build(unittest.TestCase):
    def buildah(self, *args):
        return run('buildah', '--root', self.folder + '/storage', '--runroot', self.folder + '/run', '--storage-driver', 'vfs', *args, cwd=TOP)

    def test_it_builds_and_works(self):
        stack = self.enterContext(contextlib.ExitStack())
        self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='roost-build-', dir=os.path.join(TOP, 'build')))
        self.buildah('from', '--name', 'base', 'scratch')
        self.buildah('add', 'base', BASE, '/')
        self.buildah('commit', 'base', DEBIAN)
        try:
            self.buildah('run', '--isolation', 'chroot', '--network', 'host', 'base', '--', 'apt-get', '-o', 'APT::Update::Error-Mode=any', 'update')
        except AssertionError as e:
            print('not run: the Dockerfile as a whole: a container here does not reach a mirror of Debian: %s' % str(e)[-300:], flush=True)
            return
        self.buildah('rm', 'base')
        self.buildah('bud', '--isolation', 'chroot', '--network', 'host', '--format', 'docker', '--pull-never', '--build-arg', 'REVISION=abc',
                     '-t', 'localhost/roost', '.')
        image = json.loads(self.buildah('inspect', '--type', 'image', 'localhost/roost'))['Docker']
        self.assertEqual(image['config']['Labels']['org.opencontainers.image.revision'], 'abc')
        self.buildah('from', '--pull-never', '--name', 'life', 'localhost/roost')
        stack.callback(lambda: (self.buildah('umount', 'life'), self.buildah('rm', 'life')))
        self.assertRegex(self.buildah('run', '--isolation', 'chroot', 'life', '--', '/usr/local/bin/roostd', '--version'), r'^roostd 0\.1\.0 \(abc\)')
        root = self.buildah('mount', 'life').strip()
        # What this machine's programs make of it, but for versions of libraries.
        mine = os.path.join(self.folder, 'mine')
        lay_out(mine)

        def names(root):
            return {re.sub(r'\.so[.\d]*$', '.so', x) for x in files(root) if not x.startswith(('/proc/', '/sys/', '/dev/', '/run/'))}

        self.assertEqual(names(root) - {'/etc/hosts', '/etc/hostname', '/etc/resolv.conf'}, names(mine))


if __name__ == '__main__':
    unittest.main()
