/*
 * Bytes in and out of the command line: files, standard input, questions at a terminal.
 * All buffers passed in should be secret ones.
 */
#ifndef KV_LIFECYCLE_CLI_IO_H
#define KV_LIFECYCLE_CLI_IO_H

#include "store/core/buf.h"
#include "store/core/err.h"

/* Append the bytes of a file, or of standard input for "-", up to the buffer's
 * ceiling. KV_E_IO (cli.input), KV_E_NOT_FOUND (cli.no-file), KV_E_TOO_BIG
 * (cli.input-too-big). */
int kv_io_read(const char *file, struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* The same without the final line end: for files that hold a password. */
int kv_io_read_line(const char *file, struct kv_buf *out,
                    struct kv_err *err) KV_MUST_CHECK;

/* Ask on the terminal without echo. KV_E_STATE (cli.no-terminal) when there is none. */
int kv_io_prompt(const char *prompt, struct kv_buf *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* Ask on the terminal for a "yes". KV_E_STATE: cli.not-confirmed for any other answer,
 * cli.no-terminal when there is none, with --yes as hint for both. */
int kv_io_confirm(const char *question, struct kv_err *err) KV_MUST_CHECK;

/* Write bytes to a file of mode 0600 that appears whole or not at all, or, for NULL,
 * to standard output as they are (a newline behind them on a terminal only). */
int kv_io_write(const char *file, const void *data, size_t len,
                struct kv_err *err) KV_MUST_CHECK;

#endif
