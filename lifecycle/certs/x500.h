/*
 * Distinguished names as text, in the form that Windows and Azure write:
 * `CN=a, O="Org, Inc.", S=State`, first component first (not reversed as RFC 4514).
 * Values may be quoted ("" inside is one quote) or escaped with a backslash; `+`
 * joins attributes of one component; S means ST. Pure.
 */
#ifndef KV_LIFECYCLE_CERTS_X500_H
#define KV_LIFECYCLE_CERTS_X500_H

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/core/wire.h"

#define KV_X500_TEXT_MAX 4096
#define KV_OID_MAX 128 /* characters of a dotted object identifier */

/* Append the DER Name (RFC 5280 §4.1.2.4) of `text`. Attributes: CN O OU L S ST C E
 * emailAddress DC SERIALNUMBER STREET T title G GN SN UID in any case, `1.2.3` and
 * `OID.1.2.3`; a value `#0c0161` is DER in hexadecimal. Id policy.bad-subject says
 * what is wrong, and where. */
int kv_x500_parse(const char *text, struct kv_buf *der,
                  struct kv_err *err) KV_MUST_CHECK;

/* Append the text of a DER Name, so that kv_x500_parse makes the same Name of it (RFC
 * 5280 §7.1: the types of the strings may differ); KV_E_INVALID when `der` is no
 * Name. */
int kv_x500_print(struct kv_bytes der, struct kv_buf *text) KV_MUST_CHECK;

/* Whether the bytes are a dotted object identifier of at most KV_OID_MAX characters. */
bool kv_oid_is_dotted(const char *text, size_t len);

#endif
