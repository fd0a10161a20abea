/* What Rust cannot call by itself: DPDK's static inline functions, its macros that are not plain
 * literals, and a table that holds our view of `rte_mbuf` in place.
 *
 * The bindings are generated from this header, so it includes only what we use.
 */
#ifndef TETHER_DPDK_SHIM_H
#define TETHER_DPDK_SHIM_H

#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_hash.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* The fields of our own view of `rte_mbuf`: name, member, offset and size in bytes. shim.c asserts
 * each line against the real structure, src/mbuf.rs asserts the view against each line. */
#define TETHER_MBUF_FIELDS(field)         \
	field(BUF_ADDR, buf_addr, 0, 8)       \
	field(DATA_OFF, data_off, 16, 2)      \
	field(REFCNT, refcnt, 18, 2)          \
	field(NB_SEGS, nb_segs, 20, 2)        \
	field(PORT, port, 22, 2)              \
	field(OL_FLAGS, ol_flags, 24, 8)      \
	field(PACKET_TYPE, packet_type, 32, 4) \
	field(PKT_LEN, pkt_len, 36, 4)        \
	field(DATA_LEN, data_len, 40, 2)      \
	field(VLAN_TCI, vlan_tci, 42, 2)      \
	field(HASH_RSS, hash.rss, 44, 4)      \
	field(BUF_LEN, buf_len, 54, 2)        \
	field(POOL, pool, 56, 8)              \
	field(NEXT, next, 64, 8)

#define TETHER_MBUF_SIZE 128

#define TETHER_MBUF_OFFSET(name, member, offset, size) TETHER_MBUF_OFFSET_##name = offset,
enum tether_mbuf_offset { TETHER_MBUF_FIELDS(TETHER_MBUF_OFFSET) };
#undef TETHER_MBUF_OFFSET

static const uint64_t TETHER_MBUF_F_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t TETHER_MBUF_F_INDIRECT = RTE_MBUF_F_INDIRECT;
static const uint64_t TETHER_MBUF_F_EXTERNAL = RTE_MBUF_F_EXTERNAL;
static const uint64_t TETHER_MBUF_F_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t TETHER_MBUF_F_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t TETHER_MBUF_F_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t TETHER_MBUF_F_RX_IP_CKSUM_NONE = RTE_MBUF_F_RX_IP_CKSUM_NONE;
static const uint64_t TETHER_MBUF_F_RX_OUTER_IP_CKSUM_BAD = RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
static const uint32_t TETHER_PTYPE_TUNNEL_MASK = RTE_PTYPE_TUNNEL_MASK;
static const uint64_t TETHER_ETH_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t TETHER_ETH_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t TETHER_ETH_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t TETHER_ETH_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint64_t TETHER_ETH_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t TETHER_ETH_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t TETHER_ETH_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t TETHER_ETH_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t TETHER_ETH_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t TETHER_ETH_RSS_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t TETHER_ETH_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t TETHER_ETH_RSS_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint32_t TETHER_ETH_SPEED_NUM_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;
static const uint32_t TETHER_LCORE_ID_ANY = LCORE_ID_ANY;

/* The parts of `struct rte_eth_link`, whose layout differs between releases. */
struct tether_link {
	uint32_t speed_mbps;
	uint8_t full_duplex;
	uint8_t up;
};

uint16_t tether_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t room);
uint16_t tether_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **burst, uint16_t count);
int tether_eth_link_get_nowait(uint16_t port, struct tether_link *link);

struct rte_mbuf *tether_pktmbuf_alloc(struct rte_mempool *pool);
int tether_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **burst, unsigned int count);
void tether_pktmbuf_free(struct rte_mbuf *mbuf);

int tether_errno(void);
unsigned int tether_lcore_id(void);
uint64_t tether_rdtsc(void);

#endif
