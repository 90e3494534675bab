#!/usr/bin/python3
# Written by hardtack, from templates/blocklist/blocklist.py: lists of addresses that are kept out.
#   blocklist build      makes the sets of the lists that are here, and loads them
#   blocklist refresh    fetches the lists that are on the web, and then does the same
# Nothing of a list is ever run, and no line of one can spoil it: what is not understood is refused. A source that cannot be
# fetched, or is not a good list, is reported, and what it was before stays. The sets in use are never touched: new ones take
# their place at once. Exit codes: 0 done; 1 a source or all of it has failed; 75 a list has never been fetched.
# It judges as `hardtack blocklist` does; tests hold both against the same lists.
import bisect
import fcntl
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

CONFIG = '/etc/hardtack/blocklist'
STATE = '/var/lib/hardtack/blocklist'
LOAD = '/usr/local/lib/hardtack/blocklist-load'

LONGEST_LINE = 4096
# A quarter of what is read on the desk: this machine has work to do.
LARGEST = 128 << 20
MOST_ENTRIES = 1 << 22
# For all of one list, in seconds.
PATIENCE = 900

BLANKS = b' \t\n\x0c\r'
V4, V6 = 32, 128
ALL = {V4: (1 << V4) - 1, V6: (1 << V6) - 1}
SHORTEST = {V4: 8, V6: 16}


class Refused(Exception):
    pass


class BadList(Exception):
    pass


def net(bits, text):
    network = ipaddress.ip_network(text)
    return (int(network.network_address), int(network.broadcast_address))


# The narrow ones first, so that each has its own word. The last two of IPv6 are all that is outside of 2000::/3.
RESERVED = {
    V4: [(net(V4, text), word) for text, word in [
        ('127.0.0.0/8', 'loopback'), ('169.254.0.0/16', 'link-local'), ('10.0.0.0/8', 'private'),
        ('172.16.0.0/12', 'private'), ('192.168.0.0/16', 'private'), ('100.64.0.0/10', 'private'),
        ('0.0.0.0/8', 'nobodys'), ('192.0.0.0/24', 'nobodys'), ('224.0.0.0/3', 'nobodys')]],
    V6: [(net(V6, text), word) for text, word in [
        ('::1/128', 'loopback'), ('::ffff:0:0/96', 'embedded'), ('64:ff9b::/96', 'embedded'),
        ('fe80::/10', 'link-local'), ('fc00::/7', 'private'), ('::/3', 'nobodys')]]
    + [((0x4000 << 112, ALL[V6]), 'nobodys')],
}
# Azure's DHCP, DNS and health probes come from this one public address.
PLATFORM = net(V4, '168.63.129.16/32')

DOTTED = re.compile(rb'(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\Z')
# What nearly every line of a long list is: a network or an address, and a line end.
PLAIN = re.compile(rb'(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:/([1-9]|[12]\d|3[0-2]))?\r?\n?\Z')
SIX = re.compile(rb'[0-9A-Fa-f:.]{2,45}\Z')
PREFIX = re.compile(rb'(?:0|[1-9]\d{0,2})\Z')
HOST = re.compile(rb'[A-Za-z0-9._-]*[A-Za-z][A-Za-z0-9._-]*\Z')


def address(text):
    found = DOTTED.match(text)
    if found:
        octets = found.groups()
        if all(int(octet) < 256 for octet in octets):
            if any(len(octet) > 1 and octet[0] == 48 for octet in octets):
                raise Refused('leading-zero')
            a, b, c, d = map(int, octets)
            return V4, a << 24 | b << 16 | c << 8 | d
    if SIX.match(text):
        try:
            return V6, int(ipaddress.IPv6Address(text.decode()))
        except ValueError:
            pass
    raise Refused('not-an-address')


def first_word(text):
    return re.split(rb'[ \t\n\x0c\r]', text, maxsplit=1)[0]


def worse(text, why):
    word = first_word(text)
    bare = word.split(b'/', 1)[0]
    if len(word) < len(text):
        try:
            address(bare)
            return 'more-text'
        except Refused:
            pass
    if why == 'not-an-address' and HOST.match(bare):
        return 'host-name'
    return why


def prefix_of(text, bits):
    word = first_word(text)
    prefix = int(word) if PREFIX.match(word) else bits + 1
    if prefix > bits:
        raise Refused('prefix')
    if len(word) < len(text):
        raise Refused('more-text')
    return prefix


def entry(text):
    at = text.find(b'/')
    if at >= 0:
        try:
            bits, number = address(text[:at])
        except Refused as why:
            raise Refused(worse(text, str(why)))
        hosts = bits - prefix_of(text[at + 1:], bits)
        first = number >> hosts << hosts
        return bits, first, first | (1 << hosts) - 1
    try:
        bits, number = address(text)
        return bits, number, number
    except Refused as refused:
        why = str(refused)
    at = text.find(b'-')
    if at < 0:
        raise Refused(worse(text, why))
    ends, zero = [], False
    for end in (text[:at].rstrip(BLANKS), text[at + 1:].lstrip(BLANKS)):
        try:
            ends.append(address(end))
        except Refused as refused:
            zero |= str(refused) == 'leading-zero'
    if len(ends) == 2 and ends[0][0] == ends[1][0]:
        if ends[0][1] > ends[1][1]:
            raise Refused('backwards')
        return ends[0][0], ends[0][1], ends[1][1]
    if zero and len(ends) == 1:
        raise Refused('leading-zero')
    raise Refused(worse(text, why))


def once(pairs):
    names = [name for name, _ in pairs]
    if names.count('cidr') > 1 or names.count('type') > 1:
        raise ValueError
    return dict(pairs)


def no_constant(_):
    raise ValueError


def record(line):
    try:
        made = json.loads(line.decode('utf-8', 'surrogateescape'), object_pairs_hook=once, parse_constant=no_constant)
        network, kind = made.get('cidr'), made.get('type')
    except (ValueError, RecursionError, AttributeError):
        raise Refused('not-an-address')
    if not (isinstance(network, (str, type(None))) and isinstance(kind, (str, type(None)))):
        raise Refused('not-an-address')
    if network is not None:
        return entry(network.encode('utf-8', 'surrogatepass'))
    if kind == 'metadata':
        return None
    raise Refused('not-an-address')


def parse(line):
    line = line.strip(BLANKS)
    if line.startswith(b'{'):
        return record(line)
    for mark in (b'#', b';'):
        line = line.split(mark, 1)[0]
    line = line.rstrip(BLANKS)
    return entry(line) if line else None


def judge(bits, first, last, kept):
    within = any(low <= first and last <= high for (low, high), _ in RESERVED[bits])
    if last - first >= 1 << bits - SHORTEST[bits] and not within:
        raise Refused('too-wide')
    for (low, high), word in RESERVED[bits]:
        if first <= high and low <= last:
            raise Refused(word)
    for low, high in kept:
        if low <= first and last <= high:
            raise Refused('let-in')


def merge(ranges):
    ranges.sort()
    merged = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def without(ranges, holes):
    for low, high in holes:
        at = bisect.bisect_left(ranges, (low, low))
        if at and ranges[at - 1][1] >= low:
            at -= 1
        end, left = at, []
        while end < len(ranges) and ranges[end][0] <= high:
            first, last = ranges[end]
            if first < low:
                left.append((first, low - 1))
            if high < last:
                left.append((high + 1, last))
            end += 1
        ranges[at:end] = left
    return ranges


def text_of(bits, number):
    if bits == V4:
        return '%d.%d.%d.%d' % (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)
    return str(ipaddress.IPv6Address(number))


def networks(bits, ranges):
    for first, last in ranges:
        while first <= last:
            hosts = (last - first + 1).bit_length() - 1
            if first:
                hosts = min(hosts, (first & -first).bit_length() - 1)
            name = text_of(bits, first)
            yield name if hosts == 0 else '%s/%d' % (name, bits - hosts)
            first += 1 << hosts


class Source:
    """Of one list, what it blocks."""

    def __init__(self, name):
        self.name = name
        self.ranges = {V4: [], V6: []}
        self.refused = {}

    def read(self, file, kept):
        size = lines = taken = 0
        v4 = self.ranges[V4]
        (reserved, short), guard = (RESERVED[V4], 1 << V4 - SHORTEST[V4]), kept[V4]
        while True:
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                break
            lines += 1
            size += len(line)
            if size > LARGEST:
                raise BadList('more than %d MiB' % (LARGEST >> 20))
            plain = PLAIN.match(line)
            if plain:
                a, b, c, d, prefix = plain.groups()
                if not (a[0] == 48 or len(b) > 1 and b[0] == 48 or len(c) > 1 and c[0] == 48 or len(d) > 1 and d[0] == 48):
                    a, b, c, d = int(a), int(b), int(c), int(d)
                    if a < 256 and b < 256 and c < 256 and d < 256:
                        first = a << 24 | b << 16 | c << 8 | d
                        last = first
                        if prefix:
                            hosts = V4 - int(prefix)
                            first = first >> hosts << hosts
                            last = first | (1 << hosts) - 1
                        if last - first < short:
                            for (low, high), _ in reserved:
                                if first <= high and low <= last:
                                    break
                            else:
                                for low, high in guard:
                                    if low <= first and last <= high:
                                        break
                                else:
                                    v4.append((first, last))
                                    taken += 1
                                    if taken > MOST_ENTRIES:
                                        raise BadList('more than %d entries' % MOST_ENTRIES)
                                    continue
            whole = line.endswith(b'\n') or len(line) <= LONGEST_LINE
            while not whole:
                rest = file.readline(1 << 16)
                size += len(rest)
                if size > LARGEST:
                    raise BadList('more than %d MiB' % (LARGEST >> 20))
                if not rest or rest.endswith(b'\n'):
                    break
            try:
                if not whole:
                    raise Refused('long-line')
                if lines == 1 and line.startswith(b'\xef\xbb\xbf'):
                    line = line[3:]
                found = parse(line)
                if found:
                    judge(*found, kept[found[0]])
                    self.ranges[found[0]].append(found[1:])
                    taken += 1
                    if taken > MOST_ENTRIES:
                        raise BadList('more than %d entries' % MOST_ENTRIES)
            except Refused as why:
                self.refused[str(why)] = self.refused.get(str(why), 0) + 1
        if not taken:
            raise BadList('all of its entries are refused' if self.refused else 'there is no entry in it')
        for bits in (V4, V6):
            self.ranges[bits] = merge(self.ranges[bits])
        refused = ', '.join('%d %s' % (count, why) for why, count in sorted(self.refused.items()))
        say('%s: %d lines, %d taken%s' % (self.name, lines, taken, '; refused: ' + refused if refused else ''))

    def write(self, path):
        with open(path, 'w', encoding='ascii') as file:
            for bits in (V4, V6):
                file.writelines(name + '\n' for name in networks(bits, self.ranges[bits]))
            file.flush()
            os.fsync(file.fileno())


def say(words):
    # Whoever answers for a list may have a word in it.
    words = ''.join(c if c.isprintable() else '?' for c in words[:500])
    print('hardtack: blocklist: ' + words, flush=True)


def own(settings):
    """What may never be blocked: what the spec lets in, and what this machine cannot be without."""
    kept = {V4: [PLATFORM], V6: []}

    def keep(text):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return
        kept[V4 if network.version == 4 else V6].append((int(network[0]), int(network[-1])))

    for text in settings['allow']:
        keep(text)
    for family in ('-4', '-6'):
        try:
            routes = json.loads(subprocess.run(['ip', family, '-j', 'route', 'show'], stdout=subprocess.PIPE,
                                               stderr=subprocess.DEVNULL, timeout=30).stdout or b'[]')
        except (ValueError, OSError, subprocess.SubprocessError):
            routes = []
        for way in [way for route in routes for way in [route] + route.get('nexthops', [])]:
            if way.get('gateway'):
                keep(way['gateway'])
    for path in ('/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'):
        try:
            with open(path, encoding='ascii', errors='replace') as file:
                for line in file:
                    words = line.split()
                    if len(words) > 1 and words[0] == 'nameserver':
                        keep(words[1].split('%')[0])
        except OSError:
            pass
    return {bits: merge(ranges) for bits, ranges in kept.items()}


class OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, url):
        if not url.startswith('https://'):
            raise urllib.error.URLError('it leads to what is not https')
        return super().redirect_request(request, file, code, message, headers, url)


def fetch(url, path):
    """What stands at an address, whole, in a file."""
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()), OnlyHttps())
    request = urllib.request.Request(url, headers={'User-Agent': 'hardtack', 'Accept-Encoding': 'identity'})
    end = time.monotonic() + PATIENCE
    with opener.open(request, timeout=60) as answer, open(path, 'wb') as file:
        promised = answer.headers.get('Content-Length')
        if promised is not None and int(promised) > LARGEST:
            raise BadList('more than %d MiB' % (LARGEST >> 20))
        size = 0
        while True:
            piece = answer.read(1 << 16)
            if not piece:
                break
            size += len(piece)
            if size > LARGEST:
                raise BadList('more than %d MiB' % (LARGEST >> 20))
            if time.monotonic() > end:
                raise BadList('it takes too long')
            file.write(piece)
        # urllib does not say so when read in pieces.
        if promised is not None and size != int(promised):
            raise BadList('cut short: %d bytes of %s' % (size, promised))


def power_of_two(least):
    return 1 << max(least - 1, 0).bit_length()


def write_sets(names, path):
    with open(path, 'w', encoding='ascii') as file:
        for bits, name, family in ((V4, 'hardtack-block4', 'inet'), (V6, 'hardtack-block6', 'inet6')):
            count = len(names[bits])
            # As many buckets as networks, and room for a quarter more (`hardtack blocklist` says why).
            hashsize, most = max(power_of_two(count), 64), max(power_of_two(count + -(-count // 4)), 64)
            file.write('create %s-new hash:net family %s hashsize %d maxelem %d\n' % (name, family, hashsize, most))
            file.writelines('add %s-new %s\n' % (name, network) for network in names[bits])
        for name in ('hardtack-block4', 'hardtack-block6'):
            file.write('swap %s-new %s\n' % (name, name))
        for name in ('hardtack-block4', 'hardtack-block6'):
            file.write('destroy %s-new\n' % name)
        file.write('# whole\n')
        file.flush()
        os.fsync(file.fileno())


def known(settings, kept):
    """Each source as it is here: as it was fetched last, or as the bundle brought it."""
    sources, missing = {}, []
    for wanted in settings['sources']:
        for folder in (STATE, CONFIG):
            path = '%s/%s.cidr' % (folder, wanted['id'])
            source = Source('%s (%s)' % (wanted['name'], path))
            try:
                with open(path, 'rb') as file:
                    source.read(file, kept)
            except FileNotFoundError:
                continue
            except BadList as why:
                # What is let in by now may be all of it.
                say('%s: %s' % (source.name, why))
                continue
            sources[wanted['id']] = source
            break
        else:
            missing.append(wanted['name'])
    return sources, missing


def build(settings, kept, fresh):
    sources, missing = known({'sources': [s for s in settings['sources'] if s['id'] not in fresh]}, kept)
    if missing:
        for name in missing:
            say('%s: never fetched yet' % name)
        return 75
    sources.update(fresh)
    lists = {}
    for bits, family, most in ((V4, 'IPv4', 1 << 31), (V6, 'IPv6', 1 << 124)):
        merged = merge([pair for source in sources.values() for pair in source.ranges[bits]])
        lists[bits] = without(merged, kept[bits])
        if sum(last - first + 1 for first, last in lists[bits]) >= most:
            raise BadList('these lists block half of %s or more' % family)
    if not any(lists.values()):
        raise BadList('nothing is left to block')
    names = {bits: list(networks(bits, lists[bits])) for bits in (V4, V6)}
    path = STATE + '/sets'
    write_sets(names, path + '.new')
    if subprocess.run(['/bin/sh', LOAD, path + '.new']).returncode:
        raise BadList('the sets cannot be loaded')
    os.replace(path + '.new', path)
    folder = os.open(STATE, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    say('%d networks of IPv4, %d of IPv6' % (len(names[V4]), len(names[V6])))
    return 0


def refresh(settings, kept):
    fresh, failed = {}, False
    for wanted in settings['sources']:
        if not wanted.get('url'):
            continue
        path, source = '%s/%s' % (STATE, wanted['id']), Source(wanted['url'])
        try:
            fetch(wanted['url'], path + '.part')
            with open(path + '.part', 'rb') as file:
                source.read(file, kept)
            source.write(path + '.new')
            fresh[wanted['id']] = source
        except (BadList, OSError, ValueError, urllib.error.URLError) as why:
            failed = True
            say('%s: FAILED, and kept as it was: %s' % (wanted['url'], why))
        except Exception as why:  # What http.client raises is of many kinds.
            failed = True
            say('%s: FAILED, and kept as it was: %s' % (wanted['url'], type(why).__name__))
        finally:
            if os.path.exists(path + '.part'):
                os.remove(path + '.part')
    code = build(settings, kept, fresh)
    # Only what could be loaded is worth keeping.
    for name in fresh:
        os.replace('%s/%s.new' % (STATE, name), '%s/%s.cidr' % (STATE, name))
    return code or int(failed)


def main():
    if sys.argv[1:] not in (['build'], ['refresh']):
        print('usage: blocklist build|refresh', file=sys.stderr)
        return 2
    os.umask(0o077)
    os.makedirs(STATE, exist_ok=True)
    lock = open(STATE + '/lock', 'w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(CONFIG + '/config.json', encoding='utf-8') as file:
        settings = json.load(file)
    try:
        kept = own(settings)
        return refresh(settings, kept) if sys.argv[1] == 'refresh' else build(settings, kept, {})
    except (BadList, OSError) as why:
        say('FAILED, and nothing is changed: %s' % why)
        return 1


if __name__ == '__main__':
    sys.exit(main())
