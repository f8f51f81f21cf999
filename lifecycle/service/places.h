/*
 * Where this process may read and write: what Landlock leaves to it.
 */
#ifndef KV_LIFECYCLE_SERVICE_PLACES_H
#define KV_LIFECYCLE_SERVICE_PLACES_H

#include "lifecycle/service/options.h"

/* Give up every other path than system libraries, the directories of store and audit
 * log ("": none), and what the options name. As kv_harden_paths. */
int kv_places_restrict(const struct kv_service_options *options, const char *db_dir,
                       const char *audit_dir, struct kv_log *log,
                       struct kv_err *err) KV_MUST_CHECK;

#endif
