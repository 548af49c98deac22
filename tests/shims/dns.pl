#!/usr/bin/env perl
# A name server on 127.0.0.1:53 that knows one name. Usage: dns.pl NAME ADDRESS
use strict;
use warnings;
use IO::Socket::INET;
my ($name, $address) = @ARGV;
my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 53, Proto => 'udp') or die "dns.pl: $!\n";
while (defined $socket->recv(my $query, 512)) {
    my ($id, $flags) = unpack 'n2', $query;
    my ($asked, $rest) = ('', substr $query, 12);
    while (my $length = unpack 'C', $rest) {
        $asked .= ($asked eq '' ? '' : '.') . substr $rest, 1, $length;
        $rest = substr $rest, 1 + $length;
    }
    my $type = unpack 'n', substr $rest, 1, 2;
    my $question = substr $query, 12, length($query) - 12 - length($rest) + 5;
    my $known = lc $asked eq $name;
    my $answer = $known && $type == 1 ? pack('n3 N n', 0xc00c, 1, 1, 60, 4) . pack('C4', split /\./, $address) : '';
    $socket->send(pack('n6', $id, 0x8580 | ($known ? 0 : 3), 1, $answer eq '' ? 0 : 1, 0, 0) . $question . $answer);
}
