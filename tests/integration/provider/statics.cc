/*
 * A host in C++: keys in objects of static and thread storage. Those that end before
 * libcrypto cleans up sign once more in their destructors, the other frees its key.
 *
 *   statics URI-OR-FILE
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/store.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>

namespace
{

class Key
{
  public:
    explicit Key(std::string name, bool signs_last)
        : name_(name), signs_last_(signs_last)
    {
    }
    ~Key()
    {
        if (pkey_ == nullptr)
            return;
        bool ok = !signs_last_ || sign();
        EVP_PKEY_free(pkey_);
        if (!ok) {
            std::fprintf(stderr, "statics: %s did not sign\n", name_.c_str());
            _exit(3);
        }
    }
    void load(const char *uri)
    {
        OSSL_STORE_CTX *store =
            OSSL_STORE_open(uri, nullptr, nullptr, nullptr, nullptr);
        if (store == nullptr)
            return;
        OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != nullptr)
            pkey_ = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
        OSSL_STORE_close(store);
    }
    bool sign() const
    {
        unsigned char sig[1024];
        size_t len = sizeof(sig);
        std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> ctx(EVP_MD_CTX_new(),
                                                                EVP_MD_CTX_free);
        return ctx != nullptr && pkey_ != nullptr &&
               EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, pkey_) ==
                   1 &&
               EVP_DigestSign(ctx.get(), sig, &len,
                              reinterpret_cast<const unsigned char *>("message"),
                              7) == 1;
    }

  private:
    std::string name_;
    bool signs_last_;
    EVP_PKEY *pkey_ = nullptr;
};

Key early("the early object", false); /* made before libcrypto: destroyed after it */
thread_local Key of_thread("the object of a thread", true);

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    alarm(60);
    early.load(argv[1]);
    if (!early.sign()) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    static Key late("the late object", true); /* destroyed before libcrypto cleans up */
    late.load(argv[1]);
    std::thread([&] { of_thread.load(argv[1]); }).join();
    std::thread([&] {
        for (int i = 0; i < 20; i++) {
            if (!late.sign())
                std::_Exit(4);
        }
    }).join();
    return 0;
}
