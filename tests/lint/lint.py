#!/usr/bin/python3
"""What the compiler does not check. usage: tests/lint/lint.py --build DIR

Prints `file:line: what` for every finding and the number of checks as the last line.
A file may break a size rule by saying so in its first 30 lines: "lint: long, because ...".
"""

import argparse
import collections
import fnmatch
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = ['cmd', 'proc', 'proto', 'net', 'core', 'codec', 'base']
FILE_MAX, FUNCTION_MAX, COLUMNS = 500, 90, 100
BANNED = re.compile(r'\b(TODO|FIXME|XXX)\b')
# header -> files that may include it
ONLY_IN = [
    (r'ev\.h', re.compile(r'^(src|include)/(net|proc)/'), 'libev belongs to net and proc'),
    (r'wslay/.*', re.compile(r'^src/codec/ws_(slot|tx)\.[ch]$'), 'wslay belongs to codec/ws_slot and ws_tx'),
    (r'openssl/ssl\.h', re.compile(r'^(src|include)/net/'), 'TLS belongs to net'),
]
TOP_LEVEL = {'cmd', 'src', 'include', 'tests', 'deploy', 'Dockerfile', 'Makefile', 'README.md',
             'LICENSE', 'build'}
failures = []


def fail(path, line, text):
    failures.append('%s:%d: %s' % (path, line, text))


def c_files(*tops):
    return sorted(p for t in tops for p in glob.glob(t + '/**/*.[ch]', recursive=True))


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def includes(path):
    for n, line in enumerate(read(path).splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if m:
            yield n, m.group(1)


def check_layers():
    """Each layer includes only itself and those below."""
    for path in c_files('src', 'include', 'cmd'):
        parts = path.split('/')
        own = 'cmd' if parts[0] == 'cmd' else parts[1]
        if own not in LAYERS:
            continue
        for n, name in includes(path):
            other = name.split('/')[0]
            if '/' in name and other in LAYERS and LAYERS.index(other) < LAYERS.index(own):
                fail(path, n, '%s may not include %s' % (own, name))


def check_only_in():
    """Foreign headers stay in their place."""
    for path in c_files('src', 'include', 'cmd'):
        for n, name in includes(path):
            for header, allowed, text in ONLY_IN:
                if re.fullmatch(header, name) and not allowed.match(path):
                    fail(path, n, text)


def check_include_guards():
    """Every header of include/ is guarded by its own path."""
    for path in c_files('include'):
        guard = 'ROOST_' + re.sub(r'[/.]', '_', path[len('include/'):]).upper()
        if '#ifndef %s\n#define %s\n' % (guard, guard) not in read(path):
            fail(path, 1, 'no include guard %s' % guard)


def excused(text):
    return 'lint: long, because' in '\n'.join(text.split('\n')[:30])


def check_file_length():
    """No file above 500 lines."""
    paths = c_files('src', 'include', 'cmd', 'tests') + sorted(glob.glob('tests/**/*.py', recursive=True))
    for path in paths:
        text = read(path)
        if '/node_modules/' not in path and text.count('\n') > FILE_MAX and not excused(text):
            fail(path, FILE_MAX, '%d lines; %d are allowed' % (text.count('\n'), FILE_MAX))


def check_function_length():
    """No function above 90 lines (its braces stand in the first column)."""
    for path in c_files('src', 'include', 'cmd', 'tests'):
        start, text = None, read(path)
        for n, line in enumerate(text.splitlines(), 1):
            if line == '{':
                start = n
            elif line == '}' and start is not None:
                if n - start - 1 > FUNCTION_MAX and not excused(text):
                    fail(path, start, 'function of %d lines; %d are allowed' % (n - start - 1, FUNCTION_MAX))
                start = None


def check_spaces():
    """No tab, no trailing space, one end of line at the end."""
    for path in c_files('src', 'include', 'cmd', 'tests') + glob.glob('include/tbl/*.def'):
        text = read(path)
        for n, line in enumerate(text.split('\n'), 1):
            if '\t' in line or line.endswith(' ') or '\r' in line:
                fail(path, n, 'tab, carriage return or trailing space')
        if text and (not text.endswith('\n') or text.endswith('\n\n')):
            fail(path, text.count('\n'), 'no single end of line at the end')


def check_format():
    """clang-format would change nothing."""
    files = c_files('src', 'include', 'cmd', 'tests')
    try:
        p = subprocess.run(['clang-format', '--dry-run', '--Werror', '--ferror-limit=1'] + files,
                           capture_output=True, text=True)
    except FileNotFoundError:
        fail('clang-format', 0, 'is not installed (Debian package clang-format)')
        return
    if p.returncode != 0:
        for line in re.findall(r'^(\S+?:\d+):\d+: error', p.stderr, re.M) or [p.stderr.strip() or 'clang-format:0']:
            fail(*line.rsplit(':', 1)[:1], int(line.rsplit(':', 1)[1]) if line.rsplit(':', 1)[-1].isdigit() else 0,
                 'not as clang-format writes it')


def check_order():
    """No `f() | g()`: C says nothing about which is called first, and both append."""
    for path in c_files('src', 'include', 'cmd'):
        text = read(path)
        for m in re.finditer(r'\) \|\s+[a-z]\w*\(', text):
            fail(path, text.count('\n', 0, m.start()) + 1, 'the operands of | have no order: write statements, or ||')


# Public functions that the programs do not call, and why they are there all the same.
UNCALLED = {
    'broker_free': 'a worker ends without',
    'reactor_fini': 'a worker ends without',
    'shm_destroy': 'the master ends without',
    'clock_advance': 'tests move the clock',
    'hash_seed': 'tests repeat what they did',
    'log_set_sink': 'tests read the log',
    'broker_position': 'tests ask where one subscriber stands',
    'cf_next_push': 'tests read what listeners get',
    'cf_decode_connect_request': 'tests read what listeners say',
}


def code_of(path):
    """Without comments and the text of strings; lines keep their numbers."""
    text = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group().count('\n'), read(path), flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text)


def check_uncalled():
    """Whatever a header offers has a caller in the programs, not only a declaration and a definition."""
    code = {p: code_of(p) for p in c_files('src', 'include', 'cmd')}
    tables = ' '.join(read(p) for p in glob.glob('include/tbl/*.def') + glob.glob('cmd/*/*.def'))
    words = collections.Counter(re.findall(r'\w+', ' '.join(code.values()) + tables))
    for path in [p for p in code if p.endswith('.h')]:
        for m in re.finditer(r'^(static inline )?(?:const |struct |enum |unsigned |_Atomic )*\w+[ *]+(\w+)\(', code[path], re.M):
            name, uses = m.group(2), words[m.group(2)] - (1 if m.group(1) else 2)
            if (uses > 0) == (name in UNCALLED):
                line = code[path].count('\n', 0, m.start(2)) + 1
                fail(path, line, '%s() %s' % (name, 'is called; take it off the list' if uses > 0 else 'is not called by any program'))


def check_homes():
    """Each .c has a header of its name, or the first comment of a header of its folder names it (also as hub_*.c)."""
    named = {}
    for path in c_files('src', 'include', 'cmd'):
        if path.endswith('.h'):
            comment = re.match(r'/\*.*?\*/', read(path), re.S)
            folder = re.sub(r'^include/', 'src/', os.path.dirname(path))
            for name in re.findall(r'[\w/*]+\.c\b', comment.group() if comment else ''):
                named.setdefault(os.path.normpath(os.path.join(folder, os.path.dirname(name))), []).append(os.path.basename(name))
    for path in [p for p in c_files('src', 'cmd') if p.endswith('.c')]:
        folder, name = os.path.split(path)
        stem = path[:-2]
        own = [stem + '.h', stem + '_internal.h', re.sub(r'^src/', 'include/', stem) + '.h']
        if name != 'main.c' and not any(map(os.path.exists, own)) and not any(fnmatch.fnmatch(name, n) for n in named.get(folder, [])):
            fail(path, 1, 'no header is its own, and none of its folder names it in its first comment')


def check_metrics_are_written():
    """Each row of the table of counters is written somewhere."""
    code = ' '.join(code_of(p) for p in c_files('src') if p != 'src/base/metrics.c')
    written = set(re.findall(r'\bMETRIC_(?:INC|ADD)\((\w+)', code))
    written |= set(re.findall(r'\bmetrics->(\w+)(?:\[[^]]*\])?\s*(?:[-+]?=[^=]|\+\+|--)', code))
    written |= set(re.findall(r'&metrics->(\w+)', code))
    methods = re.findall(r'^METHOD\(\w+, (\w+),', read('include/tbl/api.def'), re.M)
    written |= {'api_%s_duration' % m for m in methods + re.findall(r'\bDURATION\((\w+)\)', code)}
    for n, line in enumerate(read('include/tbl/metrics.def').splitlines(), 1):
        m = re.match(r'(?:COUNTER|GAUGE|HISTOGRAM)\w*\((\w+),', line)
        if m and m.group(1) not in written:
            fail('include/tbl/metrics.def', n, 'nothing writes %s' % m.group(1))


# table -> how a row begins, what stands before its name in code
ROWS = [
    ('close', r'X', 'CLOSE_'), ('states', r'X', 'CONN_'), ('conn_flags', r'HOLD', 'CONN_HOLD_'), ('conn_flags', r'FLAG', 'CONN_'),
    ('records', r'TO_HUB|TO_WORKER', 'RECORD_'), ('fields', r'X', 'FIELD_'), ('http_limits', r'LIMIT', ''), ('claims', r'CLAIM', 'CLAIM_'),
    ('node_metrics', r'PROCESS', 'PROCESS_'), ('node_metrics', r'NODE', 'NODE_'), ('config', r'X', ''), ('listeners', r'X', ''),
    ('channel_options', r'X', ''),
]


def check_rows_are_used():
    """Each row of these tables is meant somewhere by its name: a reason that ends nothing, a setting that is only parsed is none."""
    code = ' '.join(code_of(p) for p in c_files('src', 'include', 'cmd'))
    words = set(re.findall(r'\w+', code))
    ends = set(re.findall(r'##_(\w+)', code)) | set(re.findall(r'"(\w+)"', read('include/tbl/key_texts.def')))
    words |= {p + w for p in ('token_', 'subscription_token_') for w in ends}  # put together by ##
    words |= {'CONN_DEFLATE', 'CONN_DEFLATE_SMALL'}  # one number of two bits
    for table, begins, prefix in ROWS:
        path = 'include/tbl/%s.def' % table
        for n, line in enumerate(read(path).splitlines(), 1):
            m = re.match(r'(?:%s)\((\w+)' % begins, line)
            if m and prefix + m.group(1) not in words:
                fail(path, n, 'nothing says %s%s' % (prefix, m.group(1)))


def braced(text, at):
    """What stands in the braces that have been opened before `at`."""
    depth, end = 1, at
    while depth and end < len(text):
        depth += (text[end] == '{') - (text[end] == '}')
        end += 1
    return text[at:end - 1]


def check_arrays_of_tables():
    """An array whose places are a table's rows has as many as the table: `[X_NR]`, not as many as the last place that is named. And
    each enum that is a table's has a number that some array, or a _Static_assert of what it must fit, is made by: so what has one
    place, bit or value for each row does not outgrow it unseen."""
    text = {p: re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group().count('\n'), read(p), flags=re.S) for p in c_files('src', 'include', 'cmd')}
    bounds, rows, numbers = '', set(), []
    for path, t in text.items():
        bounds += ' '.join(re.findall(r'_Static_assert\((?:[^()]|\([^()]*\))*\)|\[[^\]]*_NR[^\]]*\]', t))
        for m in re.finditer(r'\benum\s*\w*\s*\{', t):
            body = braced(t, m.end())
            if '#include "' in body:
                rows |= set(re.findall(r'\b([A-Z]\w*_)##', body))
                numbers += [(path, t.count('\n', 0, m.start()) + 1, n) for n in re.findall(r'\b([A-Z]\w*_NR)\b', body)]
    for path, line, number in numbers:
        if not re.search(r'\b%s\b' % number, bounds):
            fail(path, line, 'nothing says what has room for %s rows: an array [%s], or a _Static_assert' % (number, number))
    for path, t in text.items():
        for m in re.finditer(r'\b(\w+)\[(\w*)\](?:\[[^\]]*\])*\s*=\s*\{', t):
            places = set(re.findall(r'(?:^|[{,\s])\[([A-Z]\w*_)##\w+\]\s*=', braced(t, m.end())))
            if places & rows and not m.group(2).endswith('_NR'):
                fail(path, t.count('\n', 0, m.start()) + 1, '%s[%s] has a place for each row of a table: its number of rows is its length' % m.group(1, 2))


def check_dialect():
    """UNUSED for a parameter, == NULL for a pointer (as far as its declaration is in the same function)."""
    for path in c_files('src', 'cmd'):
        text = code_of(path)
        for m in re.finditer(r'^    \(void\)\w+;$', text, re.M):
            if '/*' not in read(path).splitlines()[text.count('\n', 0, m.start())]:
                fail(path, text.count('\n', 0, m.start()) + 1, 'UNUSED says it, where the parameter is')
        for f in re.finditer(r'^\w[^;{}]*\)\n\{\n.*?^\}$', text, re.M | re.S):
            for name in set(re.findall(r'(?<=[*])(\w+)(?=[,;)]| =)', f.group(0))):
                m = re.search(r'!%s\b(?!->|[.\[(])|\b(?:if|while) \(%s\)' % (name, name), f.group(0))
                if m and not re.search(r'\bbool [^;*]*\b%s\b' % name, f.group(0)):
                    fail(path, text.count('\n', 0, f.start() + m.start()) + 1, '%s is a pointer: compare it with NULL' % name)


def check_python():
    """pyflakes finds no name that is unknown or of no use."""
    files = ['tests/run'] + sorted(glob.glob('tests/*/*.py'))
    p = subprocess.run(['/usr/bin/python3', '-m', 'pyflakes'] + files, capture_output=True, text=True)
    for line in p.stdout.splitlines():
        path, n, what = line.split(':', 2)
        fail(path, int(n), what.split(' ', 1)[-1])
    if p.returncode != 0 and not p.stdout:
        fail('pyflakes', 0, p.stderr.strip().split('\n')[-1] + ' (Debian package python3-pyflakes)')


def check_words():
    """Nothing is left for later."""
    paths = [p for t in ('src', 'include', 'cmd', 'tests', 'deploy') for p in glob.glob(t + '/**/*', recursive=True)]
    for path in sorted(paths) + ['README.md', 'Makefile', 'Dockerfile']:
        if (not os.path.isfile(path) or '/node_modules/' in path or '/corpus/' in path
                or path == 'tests/lint/lint.py'):
            continue
        for n, line in enumerate(open(path, encoding='utf-8', errors='replace'), 1):
            if BANNED.search(line):
                fail(path, n, 'left for later: %s' % line.strip()[:60])


def check_reference(build):
    """What is written from the tables is what the daemon says."""
    for option, path in (('--reference', 'deploy/CONFIGURATION.md'), ('--reference=metrics', 'deploy/METRICS.md'),
                         ('--reference=migrating', 'deploy/MIGRATING.md'),
                         ('--reference=trace', 'deploy/TRACING.md')):
        p = subprocess.run([os.path.join(build, 'roostd'), option], capture_output=True, text=True)
        if p.returncode != 0 or not p.stdout:
            fail(path, 1, 'roostd %s failed: %s' % (option, p.stderr.strip()))
        elif not os.path.exists(path) or read(path) != p.stdout:
            fail(path, 1, 'stale; `make docs` writes it')


def check_rules():
    """The object of Kubernetes has the rules of Prometheus."""
    rules, path = read('deploy/prometheus/roost-rules.yml'), 'deploy/kustomize/overlays/production/prometheusrule.yaml'
    groups = rules[rules.index('\ngroups:\n'):]
    if not read(path).endswith(re.sub(r'(?m)^(?=.)', '  ', groups)):
        fail(path, 1, 'stale; `make docs` writes it')


SERVICE_VARIABLE = re.compile(r'(^|_)(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)$')


def check_setting_names():
    """No setting looks like a variable that Kubernetes gives to pods beside a Service called roost: those are ignored."""
    for n, line in enumerate(read('include/tbl/config.def').splitlines(), 1):
        m = re.match(r'X\((\w+),', line)
        if m and SERVICE_VARIABLE.search(m.group(1).upper()):
            fail('include/tbl/config.def', n, 'ROOST_%s would be taken for a variable of Kubernetes' % m.group(1).upper())


def check_top_level():
    """The top level holds what the architecture lists."""
    for name in os.listdir('.'):
        if not name.startswith('.') and name not in TOP_LEVEL:
            fail(name, 0, 'does not belong to the top level')


def check_links():
    """Relative links of the documents lead somewhere."""
    for path in ['README.md'] + glob.glob('*/README.md') + glob.glob('deploy/*.md'):
        for n, line in enumerate(read(path).splitlines(), 1):
            for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', line):
                if not os.path.exists(os.path.join(os.path.dirname(path), target)):
                    fail(path, n, 'broken link %s' % target)


def check_named_functions():
    """The functions that the tour of the sources names are there."""
    code = ' '.join(read(p) for p in c_files('src', 'include'))
    for n, line in enumerate(read('src/README.md').splitlines(), 1):
        for name in re.findall(r'`([a-z]\w+)\(\)`', line):
            if not re.search(r'\b%s\(' % name, code):
                fail('src/README.md', n, 'there is no %s()' % name)


def check_lock():
    """The lock file of the node packages records no addresses."""
    for path in glob.glob('tests/**/package-lock.json', recursive=True):
        if '/node_modules/' not in path and '"resolved"' in read(path):
            fail(path, 1, 'contains "resolved"')


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--build', required=True)
    build = ap.parse_args().build
    build = os.path.abspath(build)
    os.chdir(TOP)
    checks = [check_layers, check_only_in, check_include_guards, check_file_length,
              check_function_length, check_spaces, check_format, check_order, check_uncalled, check_homes, check_metrics_are_written,
              check_rows_are_used, check_arrays_of_tables, check_dialect,
              check_python, check_words, check_setting_names, check_top_level, check_links, check_named_functions,
              check_lock, check_rules]
    good = bad = 0
    for check in checks + [lambda: check_reference(build)]:
        before = len(failures)
        check()
        if len(failures) == before:
            good += 1
        else:
            bad += 1
    print('\n'.join(failures)) if failures else None
    print('lint: %d checks passed, %d failed' % (good, bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
