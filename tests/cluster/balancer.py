"""HAProxy in front of two nodes, by deploy/cluster/haproxy.cfg."""

from proxies import Proxy, free_port, program


class Balancer(Proxy):
    """nodes: two, by (client, admin) address; a node that starts again has to have the same ones."""

    def __init__(self, nodes):
        self.address = '127.0.0.1:%d' % free_port()
        self.nodes = nodes
        super().__init__(())
        self.run([program('haproxy'), '-f', self.config])

    def write(self, replace=()):
        servers = [('server node%d node%d:8000 check port 8001' % (i, i), 'server node%d %s check port %s' % (i, client, admin.rsplit(':', 1)[1]))
                   for i, (client, admin) in enumerate(self.nodes, 1)]
        self.config = self.put('haproxy.cfg', self.shipped('cluster/haproxy.cfg', [
            ('maxconn 100000', 'maxconn 500'), ('bind :80\n', 'bind %s\n' % self.address), *servers]))
