/* See shim.h. Each function here is the one inline function or macro in its name, nothing more. */
#include "shim.h"

#include <stddef.h>

#define TETHER_MBUF_FIELD(name, member, offset, size)                             \
	_Static_assert(offsetof(struct rte_mbuf, member) == (offset) &&               \
			       sizeof(((struct rte_mbuf *)0)->member) == (size),                  \
		       "rte_mbuf." #member " is not where dpdk-sys expects it: this DPDK "      \
		       "release or build option needs a new line in ffi/dpdk-sys/shim.h");
TETHER_MBUF_FIELDS(TETHER_MBUF_FIELD)

_Static_assert(sizeof(struct rte_mbuf) == TETHER_MBUF_SIZE, "rte_mbuf has another size");

uint16_t tether_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t room)
{
	return rte_eth_rx_burst(port, queue, burst, room);
}

uint16_t tether_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, burst, count);
}

int tether_eth_link_get_nowait(uint16_t port, struct tether_link *link)
{
	struct rte_eth_link now = {0};
	int result = rte_eth_link_get_nowait(port, &now);

	link->speed_mbps = now.link_speed;
	link->full_duplex = now.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	link->up = now.link_status == RTE_ETH_LINK_UP;
	return result;
}

struct rte_mbuf *tether_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int tether_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **burst, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, burst, count);
}

void tether_pktmbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int tether_errno(void)
{
	return rte_errno;
}

unsigned int tether_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t tether_rdtsc(void)
{
	return rte_rdtsc();
}
